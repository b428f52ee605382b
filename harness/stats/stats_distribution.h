/*
 * The distributions that intervals and power need: normal, Student's t, binomial.
 * Own code over the regularised incomplete beta function; relative error about 1e-12.
 */
#ifndef GEMMARK_HARNESS_STATS_STATS_DISTRIBUTION_H
#define GEMMARK_HARNESS_STATS_STATS_DISTRIBUTION_H

/* I_x(a, b) for a, b > 0 and x in [0, 1]. */
double stats_beta(double a, double b, double x);

/* The x that a standard normal is below with probability p in (0, 1); the same of Student's t, df > 0. */
double stats_normal_quantile(double p);
double stats_t_quantile(double p, double df);
/* The probability that Student's t, df > 0, is at least |t| away from 0. */
double stats_t_tails(double t, double df);

/* Clopper and Pearson's interval for k successes of n > 0: holds the true rate with at least `level`. */
void stats_binomial_interval(int k, int n, double level, double *low, double *high);

#endif
