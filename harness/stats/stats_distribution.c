#include "harness/stats/stats_distribution.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stddef.h>

/* The continued fraction of the incomplete beta function, by Lentz's method (DLMF 8.17.22). */
static double beta_fraction(double a, double b, double x)
{
	const double tiny = 1e-300;
	double c = 1, d = 1 - (a + b) * x / (a + 1);
	d = 1 / (fabs(d) < tiny ? tiny : d);
	double f = d;
	for (int m = 1; m < 10000; m++) {
		double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
		double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
		for (int i = 0; i < 2; i++) {
			double term = i ? odd : even;
			d = 1 + term * d;
			d = 1 / (fabs(d) < tiny ? tiny : d);
			c = 1 + term / c;
			c = fabs(c) < tiny ? tiny : c;
			f *= c * d;
		}
		if (fabs(c * d - 1) < DBL_EPSILON)
			break;
	}
	return f;
}

/* lgamma keeps a sign in a global; beta's arguments are positive, so it is not needed. */
static double log_gamma(double x)
{
	int sign;
	return lgamma_r(x, &sign);
}

double stats_beta(double a, double b, double x)
{
	assert(a > 0 && b > 0);
	if (x <= 0 || x >= 1)
		return x > 0;
	double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
	if (x < (a + 1) / (a + b + 2))
		return front * beta_fraction(a, b, x) / a;
	return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* Bisects an ascending cdf on [low, high] until neighbouring doubles. */
static double invert(double (*cdf)(double x, const double *shape), const double *shape, double p, double low,
		     double high)
{
	for (int i = 0; i < 2000; i++) {
		double middle = low + (high - low) / 2;
		if (middle <= low || middle >= high)
			break;
		*(cdf(middle, shape) < p ? &low : &high) = middle;
	}
	return low + (high - low) / 2;
}

static double normal_cdf(double x, const double *shape)
{
	(void)shape;
	return 0.5 * erfc(-x / sqrt(2));
}

double stats_normal_quantile(double p)
{
	assert(p > 0 && p < 1);
	return p > 0.5 ? -stats_normal_quantile(1 - p) : invert(normal_cdf, NULL, p, -40, 0);
}

/* Of the lower half: 2 P(T < x) = I(df / 2, 1/2) at df / (df + x^2). */
static double t_cdf(double x, const double *df)
{
	return 0.5 * stats_beta(*df / 2, 0.5, *df / (*df + x * x));
}

double stats_t_quantile(double p, double df)
{
	assert(p > 0 && p < 1 && df > 0);
	return p > 0.5 ? -stats_t_quantile(1 - p, df) : invert(t_cdf, &df, p, -1e8, 0);
}

double stats_t_tails(double t, double df)
{
	assert(df > 0);
	return stats_beta(df / 2, 0.5, df / (df + t * t));
}

static double beta_cdf(double x, const double *shape)
{
	return stats_beta(shape[0], shape[1], x);
}

void stats_binomial_interval(int k, int n, double level, double *low, double *high)
{
	assert(n > 0 && k >= 0 && k <= n && level > 0 && level < 1);
	double tail = (1 - level) / 2;
	const double below[2] = {k, n - k + 1.0}, above[2] = {k + 1.0, n - k};
	*low = k ? invert(beta_cdf, below, tail, 0, 1) : 0;
	*high = k < n ? invert(beta_cdf, above, 1 - tail, 0, 1) : 1;
}
