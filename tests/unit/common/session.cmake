dc_unit_test(unit_session session.c session_calls.c session_world.c LIBS dc_session)
