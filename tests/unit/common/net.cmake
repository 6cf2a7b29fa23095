dc_unit_test(unit_net_frames net_frames.c LIBS dc_net_core)
dc_unit_test(unit_net net.c LIBS dc_net)
