/* Graphs that set their own nodes, and graphs that go on by themselves, on any device. */
#ifndef GEMMARK_TESTS_SUPPORT_SELF_CASE_H
#define GEMMARK_TESTS_SUPPORT_SELF_CASE_H

#include "engine/device/device.h"

/* Rows appended to a cache by a patched graph, some of them ahead of the step, where each step says. */
void self_case_patch(struct device *d);
/* Rows appended by a loop of that kind: as many as it is told, or one where it is stopped before it begins. */
void self_case_loop(struct device *d, enum device_graph_kind kind);
/*
 * A loop of that kind whose tokens are chosen in it, greedily and drawn: the host's one by one, up to its end, to one
 * that ends it, to one with logits that are no numbers, or to the first where it is stopped before it begins.
 */
void self_case_loop_chosen(struct device *d, enum device_graph_kind kind);

#endif
