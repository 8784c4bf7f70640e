#include "tables.h"
namespace powerinfer::cpu {
const Ops* const kAvx512Table = nullptr;
}
