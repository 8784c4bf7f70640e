#include "tables.h"
namespace powerinfer::cpu {
const Ops* const kAvx2Table = nullptr;
}
