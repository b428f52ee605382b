/*
 * gnuplot's SVG made part of a page: elements and attributes that are known, in the page's colours.
 */
#ifndef GEMMARK_HARNESS_REPORT_SVG_FILTER_H
#define GEMMARK_HARNESS_REPORT_SVG_FILTER_H

#include <stdio.h>

/*
 * Writes what is inside of the first <svg> of the text: groups, paths, polygons and texts of plain characters, without
 * definitions, titles, ids and styles. rgb(1, 0, N) becomes the variable that plots/report.gp means by N, every other
 * colour currentColor. Returns 0, or -1 where the text is no such picture.
 */
int svg_filter(const char *text, FILE *f);

#endif
