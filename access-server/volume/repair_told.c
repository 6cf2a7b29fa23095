/* Bad pages that nobody reads: the scrub of a core server finds them and tells the access servers that
 * come there for data. Whoever can get the file's lease copies the block whole. */
#include "access-server/volume/parts.h"

void repair_told(struct volume *v, const struct msg *m)
{
	const struct msg_bad_page *q = &m->bad_page;
	struct file *f = file_find(v, q->file);

	if (f && f->lease == LEASE_EXCLUSIVE && f->phase == PHASE_IDLE && f->map) {
		repair_note_bad(f, q->block, m->src, q->page);
		return;
	}
	for (unsigned i = 0; i < v->bad_tolds; i++)
		if (v->bad_told[i].ino == q->file && v->bad_told[i].block == q->block &&
		    v->bad_told[i].server == m->src)
			return;
	if (v->bad_tolds < BAD_TOLD_MAX)
		v->bad_told[v->bad_tolds++] = (struct bad_told){q->file, q->block, m->src, q->page};
}

bool repair_was_told(const struct file *f)
{
	for (unsigned i = 0; i < f->v->bad_tolds; i++)
		if (f->v->bad_told[i].ino == f->ino)
			return true;
	return false;
}

void repair_take_told(struct file *f)
{
	struct volume *v = f->v;

	for (unsigned i = 0; i < v->bad_tolds; i++)
		if (v->bad_told[i].ino == f->ino)
			repair_note_bad(f, v->bad_told[i].block, v->bad_told[i].server,
			                v->bad_told[i].page);
	repair_forget_told(v, f->ino);
}

void repair_forget_told(struct volume *v, uint64_t ino)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < v->bad_tolds; i++)
		if (v->bad_told[i].ino != ino)
			v->bad_told[kept++] = v->bad_told[i];
	v->bad_tolds = kept;
}
