// The emulator in place of CUDA's header.
#pragma once

#include "../block.h"
#include "../intrinsics.h"
#include "../runtime.h"
