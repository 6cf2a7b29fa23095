/* Giving back what is held, before the server ends: whoever wants a file next need not wait for the
 * session to run out, nor recover. */
#include "access-server/volume/parts.h"

void vol_give_back(struct volume *v)
{
	struct file *f, *next;

	vol_enter(v);
	HASH_ITER(hh, v->files, f, next) {
		if (f->lease == LEASE_EXCLUSIVE && f->phase == PHASE_IDLE)
			give_back(f, LEASE_NONE);
	}
}

bool vol_gave_back(const struct volume *v)
{
	const struct file *f;

	for (f = v->files; f; f = f->hh.next) {
		if (f->lease == LEASE_EXCLUSIVE || f->phase == PHASE_RELEASE)
			return false;
	}
	return true;
}
