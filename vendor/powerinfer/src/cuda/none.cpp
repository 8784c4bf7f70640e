// In place of a device: a library that was built without one.
#include "device.h"
