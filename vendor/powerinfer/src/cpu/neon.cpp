#include "tables.h"
namespace powerinfer::cpu {
const Ops* const kNeonTable = nullptr;
}
