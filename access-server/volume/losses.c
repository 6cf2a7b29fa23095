/* What was lost here lately, for the administrator: which file, when it was noticed, and who took it. */
#include "access-server/volume/parts.h"

void loss_note(struct file *f, const char *why, server_id_t by)
{
	struct volume *v = f->v;

	v->loss[v->next_loss++ % LOSSES_MAX] = (struct vol_loss){f->ino, f->epoch, v->now, by, why, 0};
}

bool vol_get_loss(struct volume *v, uint64_t ino, struct vol_loss *out)
{
	const struct file *f = file_find(v, ino);
	const struct handle *h;

	for (unsigned i = 1; i <= LOSSES_MAX; i++) {
		const struct vol_loss *l = &v->loss[(v->next_loss - i) % LOSSES_MAX];

		if (l->ino != ino)
			continue;
		*out = *l;
		if (f)
			DL_FOREACH(f->handles, h)
				out->handles += h->lost;
		return true;
	}
	return false;
}
