/* Graphs that set their own nodes, and graphs that go on by themselves, on any device. */
#ifndef GEMMARK_TESTS_SUPPORT_SELF_CASE_H
#define GEMMARK_TESTS_SUPPORT_SELF_CASE_H

#include "engine/device/device.h"

/* Rows appended to a cache by a patched graph, some of them ahead of the step, where each step says. */
void self_case_patch(struct device *d);
/* Rows appended by a loop of that kind: as many as it is told, or one where it is stopped before it begins. */
void self_case_loop(struct device *d, enum device_graph_kind kind);

#endif
