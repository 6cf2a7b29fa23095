dc_unit_test(unit_config config.c LIBS dc_config)
