// The emulator in place of CUDA's header.
#include "../cuda_on_host.h"
