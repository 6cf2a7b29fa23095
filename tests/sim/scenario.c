#include "tests/sim/scenario.h"

const struct scenario scenarios[] = {
        {"calm", "nothing breaks: no operation may fail", NULL, NULL},
};
const unsigned scenarios_n = ARRAY_LEN(scenarios);

const struct scenario *scenario_find(const char *name)
{
	for (unsigned i = 0; i < scenarios_n; i++) {
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	}
	return NULL;
}

void scenario_shape(const char *name, struct shape *s)
{
	const struct scenario *sc = scenario_find(name);

	CHECK(sc);
	if (sc->shape)
		sc->shape(s);
}

void scenario_run(struct cluster *c, const char *name)
{
	const struct scenario *sc = scenario_find(name);

	CHECK(sc);
	if (sc->run)
		sc->run(c);
}

const struct planted_bug *planted_bug_find(const char *name)
{
	for (unsigned i = 0; i < planted_bugs_n; i++) {
		if (strcmp(planted_bugs[i].name, name) == 0)
			return &planted_bugs[i];
	}
	return NULL;
}
