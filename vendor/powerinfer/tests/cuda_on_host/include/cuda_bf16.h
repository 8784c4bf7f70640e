// The emulator in place of CUDA's header.
#pragma once

#include "../vectors.h"
