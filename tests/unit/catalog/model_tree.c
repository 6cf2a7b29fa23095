#include "tests/unit/catalog/model.h"

#include <fcntl.h>
#include <stdio.h>

struct model m;

void model_init(void)
{
	memset(&m, 0, sizeof(m));
	model_new_node('d', FILE_ROOT);
	m.node[0].nlink = 2;
}

int model_new_node(char type, uint64_t ino)
{
	struct m_node *n = &m.node[m.n];

	CHECK(m.n < M_NODES);
	*n = (struct m_node){.type = type, .ino = ino, .nlink = 1, .parent = 0, .holder = -1};
	for (unsigned i = 0; i < M_NAMES; i++)
		n->child[i] = -1;
	return m.n++;
}

static enum status check_dir(int dir)
{
	if (!m.node[dir].type)
		return STATUS_STALE;
	return m.node[dir].type == 'd' ? STATUS_OK : STATUS_NOT_DIR;
}

enum status model_may_create(int dir, int name)
{
	if (check_dir(dir) != STATUS_OK)
		return check_dir(dir);
	if (m.node[dir].nlink == 0)
		return STATUS_NOT_FOUND;
	return m.node[dir].child[name] >= 0 ? STATUS_EXISTS : STATUS_OK;
}

static bool is_dir(int node)
{
	return m.node[node].type == 'd';
}

static void put(int dir, int name, int node)
{
	m.node[dir].child[name] = node;
	if (is_dir(node)) {
		m.node[dir].nlink++;
		m.node[node].parent = dir;
	}
}

static void take(int dir, int name)
{
	if (is_dir(m.node[dir].child[name]))
		m.node[dir].nlink--;
	m.node[dir].child[name] = -1;
}

static void drop_link(int node)
{
	m.node[node].nlink = is_dir(node) ? 0 : m.node[node].nlink - 1;
}

void model_create(int dir, int name, int node)
{
	m.node[node].nlink = is_dir(node) ? 2 : 1;
	put(dir, name, node);
}

enum status model_link(int node, int dir, int name)
{
	if (check_dir(dir) != STATUS_OK)
		return check_dir(dir);
	if (m.node[dir].nlink == 0)
		return STATUS_NOT_FOUND;
	if (!m.node[node].type)
		return STATUS_STALE;
	if (is_dir(node))
		return STATUS_NOT_PERMITTED;
	if (m.node[node].nlink == 0)
		return STATUS_NOT_FOUND;
	if (m.node[dir].child[name] >= 0)
		return STATUS_EXISTS;
	put(dir, name, node);
	m.node[node].nlink++;
	return STATUS_OK;
}

static bool empty(int dir)
{
	for (unsigned i = 0; i < M_NAMES; i++)
		if (m.node[dir].child[i] >= 0)
			return false;
	return true;
}

enum status model_unlink(int dir, int name, bool rmdir, int *lost)
{
	int node;

	if (check_dir(dir) != STATUS_OK)
		return check_dir(dir);
	node = m.node[dir].child[name];
	if (node < 0)
		return STATUS_NOT_FOUND;
	if (rmdir && !is_dir(node))
		return STATUS_NOT_DIR;
	if (!rmdir && is_dir(node))
		return STATUS_IS_DIR;
	if (rmdir && !empty(node))
		return STATUS_NOT_EMPTY;
	take(dir, name);
	drop_link(node);
	*lost = node;
	return STATUS_OK;
}

/* True if `dir` is `above` or lies under it. */
static bool below(int dir, int above)
{
	for (;; dir = m.node[dir].parent) {
		if (dir == above)
			return true;
		if (dir == 0)
			return false;
	}
}

static enum status may_replace(int from, int to, int new_dir, unsigned flags)
{
	if (to >= 0 && flags & RENAME_NOREPLACE)
		return STATUS_EXISTS;
	if (is_dir(from) && below(new_dir, from))
		return STATUS_LOOP;
	if (to < 0)
		return STATUS_OK;
	if (is_dir(from) && !is_dir(to))
		return STATUS_NOT_DIR;
	if (!is_dir(from) && is_dir(to))
		return STATUS_IS_DIR;
	return is_dir(to) && !empty(to) ? STATUS_NOT_EMPTY : STATUS_OK;
}

static enum status exchange(int dir, int name, int new_dir, int new_name)
{
	int from = m.node[dir].child[name], to = m.node[new_dir].child[new_name];

	if (to < 0)
		return STATUS_NOT_FOUND;
	if ((is_dir(from) && below(new_dir, from)) || (is_dir(to) && below(dir, to)))
		return STATUS_LOOP;
	take(dir, name);
	take(new_dir, new_name);
	put(dir, name, to);
	put(new_dir, new_name, from);
	return STATUS_OK;
}

enum status model_rename(int dir, int name, int new_dir, int new_name, unsigned flags, int *lost)
{
	enum status status;
	int from, to;

	*lost = -1;
	if (check_dir(dir) != STATUS_OK)
		return check_dir(dir);
	if (check_dir(new_dir) != STATUS_OK)
		return check_dir(new_dir);
	from = m.node[dir].child[name];
	to = m.node[new_dir].child[new_name];
	if (from < 0 || m.node[new_dir].nlink == 0)
		return STATUS_NOT_FOUND;
	if (flags != RENAME_NOREPLACE && from == to)
		return STATUS_OK;
	if (flags == RENAME_EXCHANGE)
		return exchange(dir, name, new_dir, new_name);
	status = may_replace(from, to, new_dir, flags);
	if (status != STATUS_OK)
		return status;
	if (to >= 0) {
		take(new_dir, new_name);
		drop_link(to);
		*lost = to;
	}
	take(dir, name);
	put(new_dir, new_name, from);
	return STATUS_OK;
}

void model_gone(int node)
{
	if (m.node[node].type && m.node[node].nlink == 0)
		m.node[node].type = 0;
}
