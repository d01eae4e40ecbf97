#ifndef CCONVNETMALLOCCOUNTER_H
#define CCONVNETMALLOCCOUNTER_H

/* Counts allocations of all threads between start and stop. Only for tests: linking it replaces malloc. */
void cmc_start(void);
long cmc_stop(void);

#endif
