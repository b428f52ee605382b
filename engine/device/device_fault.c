/* Failures on demand, the same for every device. */
#include "engine/device/device.h"

void device_fail(struct device *d, enum device_fault step, int after, int times)
{
	d->faults[step] = (struct device_fault_plan){.after = after, .times = times};
}

bool device_fault_due(struct device *d, enum device_fault step)
{
	struct device_fault_plan *f = &d->faults[step];
	if (f->times == 0)
		return false;
	if (f->after > 0) {
		f->after--;
		return false;
	}
	f->times--;
	return true;
}
