/*
 * What a launch leaves behind where kernels are compiled with TIMELINE (kernels/cuda/stamps.cuh): a record for each of
 * its blocks. Part of the contract of kernels/params.h.
 */
#ifndef GEMMARK_KERNELS_PARAMS_STAMPS_H
#define GEMMARK_KERNELS_PARAMS_STAMPS_H

/* Nanoseconds of a clock that all multiprocessors share. */
struct block_stamp {
	unsigned long long
		entered; /* it is on its multiprocessor, and asks for what does not depend on earlier kernels */
	unsigned long long input; /* all earlier kernels are complete */
	unsigned long long left;  /* its first thread has stored its results */
	unsigned sm;
	unsigned n_blocks; /* of the launch */
};

/*
 * In front of the records, (cap). A block takes the next record behind its wait: none of a launch's before all of the
 * launch in front have theirs, so that the records are in the order of the launches.
 */
struct block_stamps {
	unsigned n; /* taken; those from cap on were not kept */
	unsigned cap;
	unsigned unused[6]; /* the records are 32-byte aligned */
};

#endif
