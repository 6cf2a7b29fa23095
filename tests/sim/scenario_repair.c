/* Trap B2 and P7: copies that race with writes, pages that rot. */

#include "tests/sim/scenarios.h"

/* Site 3 missed a write and is repaired; the first copies are held up on their way, so they are sent
 * again. Then that replica gets another write, and only after it what was late. C reads from there. */
void scenario_b2(struct cluster *c)
{
	struct stage_rule *late;
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(b, 1) == 0, "open");
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), true);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "second write");
	stage_wait(c, 3 * NSEC_SEC);
	late = stage_delay(c, MSG_TYPE_install, cluster_access_id(1), cluster_core_id(3, 0), 3 * NSEC_SEC);
	late->times = 2; /* of the block and of the attribute record */
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), false);
	stage_wait(c, 2 * NSEC_SEC);
	stage_expect(c, late->hits == 2, "copies are late");
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "third write");
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, stage_read(b, 1, 0, 1) == 0, "C reads");
	stage_end(c);
}
