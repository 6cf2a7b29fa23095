#include "hint-server/quorum/raft_wire.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#define FORMAT 1
#define ENTRY_HEAD 13 /* term u64, type u8, length u32 */
#define HEAD_MAX 64

static size_t entries_bytes(const struct raft_append_entries *a)
{
	size_t n = 0;

	for (unsigned i = 0; i < a->n_entries; i++)
		n += ENTRY_HEAD + a->entries[i].buf.len;
	return n;
}

static uint8_t *out_u64(uint8_t *p, uint64_t v)
{
	put_u64le(p, v);
	return p + 8;
}

static uint8_t *out_u8(uint8_t *p, unsigned v)
{
	*p = (uint8_t)v;
	return p + 1;
}

static uint8_t *out_u16(uint8_t *p, uint16_t v)
{
	put_u16le(p, v);
	return p + 2;
}

static uint8_t *out_entries(uint8_t *p, const struct raft_append_entries *a)
{
	put_u32le(p, a->n_entries);
	p += 4;
	for (unsigned i = 0; i < a->n_entries; i++) {
		const struct raft_entry *e = &a->entries[i];

		p = out_u64(p, e->term);
		p = out_u8(p, e->type);
		put_u32le(p, (uint32_t)e->buf.len);
		memcpy(p + 4, e->buf.base, e->buf.len);
		p += 4 + e->buf.len;
	}
	return p;
}

static uint8_t *out_message(uint8_t *p, const struct raft_message *m)
{
	switch (m->type) {
	case RAFT_APPEND_ENTRIES:
		p = out_u64(p, m->append_entries.term);
		p = out_u64(p, m->append_entries.prev_log_index);
		p = out_u64(p, m->append_entries.prev_log_term);
		p = out_u64(p, m->append_entries.leader_commit);
		return out_entries(p, &m->append_entries);
	case RAFT_APPEND_ENTRIES_RESULT:
		p = out_u64(p, m->append_entries_result.term);
		p = out_u64(p, m->append_entries_result.rejected);
		p = out_u64(p, m->append_entries_result.last_log_index);
		p = out_u16(p, m->append_entries_result.features);
		return out_u16(p, m->append_entries_result.capacity);
	case RAFT_REQUEST_VOTE:
		p = out_u64(p, m->request_vote.term);
		p = out_u64(p, m->request_vote.candidate_id);
		p = out_u64(p, m->request_vote.last_log_index);
		p = out_u64(p, m->request_vote.last_log_term);
		p = out_u8(p, m->request_vote.disrupt_leader);
		return out_u8(p, m->request_vote.pre_vote);
	case RAFT_REQUEST_VOTE_RESULT:
		p = out_u64(p, m->request_vote_result.term);
		p = out_u8(p, m->request_vote_result.vote_granted);
		p = out_u8(p, m->request_vote_result.pre_vote);
		p = out_u16(p, m->request_vote_result.features);
		return out_u16(p, m->request_vote_result.capacity);
	case RAFT_TIMEOUT_NOW:
		p = out_u64(p, m->timeout_now.term);
		p = out_u64(p, m->timeout_now.last_log_index);
		return out_u64(p, m->timeout_now.last_log_term);
	case RAFT_INSTALL_SNAPSHOT:
		break;
	}
	CHECK(!"a snapshot in a raft message");
	return p;
}

uint8_t *raft_wire_encode(const struct raft_message *m, size_t *len)
{
	size_t room = HEAD_MAX;
	uint8_t *out, *p;

	if (m->type == RAFT_APPEND_ENTRIES)
		room += entries_bytes(&m->append_entries);
	out = p = mem_new(room);
	p = out_u8(p, FORMAT);
	p = out_u8(p, m->type);
	p = out_message(p, m);
	*len = (size_t)(p - out);
	CHECK(*len <= room);
	return out;
}

/* --- decoding --- */

static bool in_bool(struct cursor *c)
{
	uint8_t v = cursor_u8(c);

	c->bad |= v > 1;
	return v == 1;
}

static bool entry_type_known(unsigned type, uint64_t index)
{
	/* The configuration is entry 1, the same everywhere; it does not change by messages. */
	return type == RAFT_COMMAND || type == RAFT_BARRIER || (type == RAFT_CHANGE && index == 1);
}

static uint64_t in_term(struct cursor *c)
{
	uint64_t v = cursor_u64(c);

	c->bad |= v > RAFT_WIRE_TERM_MAX;
	return v;
}

static uint64_t in_index(struct cursor *c)
{
	uint64_t v = cursor_u64(c);

	c->bad |= v > RAFT_WIRE_INDEX_MAX;
	return v;
}

/* First pass: sizes and rules. Terms never fall and never exceed the sender's. */
static bool entries_ok(struct cursor c, const struct raft_append_entries *a, size_t *data_bytes)
{
	uint64_t term = a->prev_log_term;

	*data_bytes = 0;
	for (unsigned i = 0; i < a->n_entries; i++) {
		uint64_t t = cursor_u64(&c);
		unsigned type = cursor_u8(&c);
		struct span s = cursor_span(&c);

		if (c.bad || t == 0 || t < term || t > a->term || s.len == 0 ||
		    !entry_type_known(type, a->prev_log_index + 1 + i))
			return false;
		term = t;
		*data_bytes += s.len;
	}
	return cursor_done(&c);
}

static int in_entries(struct cursor *c, struct raft_append_entries *a)
{
	size_t bytes;
	uint8_t *batch;

	a->n_entries = cursor_u32(c);
	if (c->bad || a->n_entries > RAFT_WIRE_ENTRIES_MAX || a->n_entries > c->left / ENTRY_HEAD ||
	    !entries_ok(*c, a, &bytes))
		return ERR_CORRUPT;
	if (a->n_entries == 0)
		return 0;
	a->entries = mem_new_array(a->n_entries, sizeof(*a->entries));
	batch = raft_malloc(bytes);
	CHECK(batch);
	for (unsigned i = 0; i < a->n_entries; i++) {
		struct raft_entry *e = &a->entries[i];
		struct span s;

		e->term = cursor_u64(c);
		e->type = cursor_u8(c);
		s = cursor_span(c);
		e->buf = (struct raft_buffer){batch, s.len};
		e->batch = a->entries[0].batch ? a->entries[0].batch : batch;
		memcpy(batch, s.p, s.len);
		batch += s.len;
	}
	return 0;
}

static int in_append(struct cursor *c, struct raft_append_entries *a)
{
	a->term = in_term(c);
	a->prev_log_index = in_index(c);
	a->prev_log_term = in_term(c);
	a->leader_commit = in_index(c);
	if (a->term == 0 || a->prev_log_term > a->term ||
	    (a->prev_log_index == 0) != (a->prev_log_term == 0))
		return ERR_CORRUPT;
	return in_entries(c, a);
}

static int in_append_result(struct cursor *c, struct raft_append_entries_result *r)
{
	r->version = 2;
	r->term = in_term(c);
	r->rejected = in_index(c);
	r->last_log_index = in_index(c);
	r->features = cursor_u16(c);
	r->capacity = cursor_u16(c);
	return r->term ? 0 : ERR_CORRUPT;
}

static int in_vote(struct cursor *c, server_id_t from, struct raft_request_vote *v)
{
	v->version = 2;
	v->term = in_term(c);
	v->candidate_id = cursor_u64(c);
	v->last_log_index = in_index(c);
	v->last_log_term = in_term(c);
	v->disrupt_leader = in_bool(c);
	v->pre_vote = in_bool(c);
	return v->term && v->candidate_id == from && v->last_log_term <= v->term ? 0 : ERR_CORRUPT;
}

static int in_vote_result(struct cursor *c, struct raft_request_vote_result *r)
{
	r->version = 2;
	r->term = in_term(c);
	r->vote_granted = in_bool(c);
	r->pre_vote = in_bool(c);
	r->features = cursor_u16(c);
	r->capacity = cursor_u16(c);
	return r->term ? 0 : ERR_CORRUPT;
}

int raft_wire_decode(struct span bytes, server_id_t from, struct raft_message *m)
{
	struct cursor c = {.p = bytes.p, .left = bytes.len};
	int rc = ERR_CORRUPT;

	memset(m, 0, sizeof(*m));
	m->server_id = from;
	if (cursor_u8(&c) != FORMAT)
		return ERR_CORRUPT;
	switch (cursor_u8(&c)) {
	case RAFT_APPEND_ENTRIES:
		m->type = RAFT_APPEND_ENTRIES;
		rc = in_append(&c, &m->append_entries);
		break;
	case RAFT_APPEND_ENTRIES_RESULT:
		m->type = RAFT_APPEND_ENTRIES_RESULT;
		rc = in_append_result(&c, &m->append_entries_result);
		break;
	case RAFT_REQUEST_VOTE:
		m->type = RAFT_REQUEST_VOTE;
		rc = in_vote(&c, from, &m->request_vote);
		break;
	case RAFT_REQUEST_VOTE_RESULT:
		m->type = RAFT_REQUEST_VOTE_RESULT;
		rc = in_vote_result(&c, &m->request_vote_result);
		break;
	case RAFT_TIMEOUT_NOW:
		m->type = RAFT_TIMEOUT_NOW;
		m->timeout_now.term = in_term(&c);
		m->timeout_now.last_log_index = in_index(&c);
		m->timeout_now.last_log_term = in_term(&c);
		rc = m->timeout_now.term ? 0 : ERR_CORRUPT;
		break;
	default:
		break;
	}
	if (rc == 0 && !cursor_done(&c)) {
		raft_wire_free(m, true);
		rc = ERR_CORRUPT;
	}
	return rc;
}

void raft_wire_free(struct raft_message *m, bool batch_too)
{
	if (m->type != RAFT_APPEND_ENTRIES || !m->append_entries.entries)
		return;
	if (batch_too)
		raft_free(m->append_entries.entries[0].batch);
	mem_free(m->append_entries.entries);
	m->append_entries.entries = NULL;
	m->append_entries.n_entries = 0;
}
