#include "tests/unit/catalog/model.h"

#include <string.h>

enum status model_lease(int node, int session, bool exclusive, bool *recover, int *granted)
{
	struct m_node *n = &m.node[node];

	if (!n->type)
		return STATUS_STALE;
	if (n->type != 'f')
		return STATUS_INVALID;
	if (n->holder >= 0 && n->holder != session)
		return STATUS_BUSY;
	*granted = LEASE_EXCLUSIVE;
	if (n->holder < 0 && !exclusive && !n->unclean) {
		*granted = LEASE_SHARED;
		*recover = false;
		return STATUS_OK;
	}
	if (n->holder < 0) {
		n->epoch++;
		n->holder = session;
		n->recovering = n->unclean;
		n->unclean = false;
	}
	*recover = n->recovering;
	return STATUS_OK;
}

enum status model_release(int node, int session, uint64_t epoch, bool clean)
{
	struct m_node *n = &m.node[node];

	if (!n->type)
		return STATUS_STALE;
	if (n->holder != session || n->epoch != epoch)
		return STATUS_LOST;
	n->holder = -1;
	n->unclean = !clean;
	return STATUS_OK;
}

static bool in_the_way(uint8_t theirs, char type)
{
	return theirs == 'w' || (theirs == 'r' && type == 'w');
}

enum status model_lock(int node, int session, int owner, char type, int first, int last)
{
	struct m_node *n = &m.node[node];

	if (!n->type)
		return STATUS_STALE;
	for (int s = 0; s < M_SESSIONS; s++)
		for (int o = 0; o < M_OWNERS; o++)
			for (int b = first; b <= last; b++)
				if (type && (s != session || o != owner) && in_the_way(n->lock[s][o][b], type))
					return STATUS_AGAIN;
	memset(&n->lock[session][owner][first], type, (size_t)(last - first + 1));
	return STATUS_OK;
}

void model_end_session(int session)
{
	for (int i = 0; i < m.n; i++) {
		struct m_node *n = &m.node[i];

		memset(n->lock[session], 0, sizeof(n->lock[session]));
		if (n->holder == session) {
			n->holder = -1;
			n->unclean = true;
		}
	}
}
