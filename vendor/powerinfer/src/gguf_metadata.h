// Reads one key/value pair of a container's header.
#pragma once

#include "gguf_cursor.h"
#include "gguf_header.h"

namespace powerinfer {

// The shortest pair: key length, one byte of key, type, one byte of value.
constexpr uint64_t kMinPairBytes = 8 + 1 + 4 + 1;

// Pair number `index`, at the cursor.
MetaValue read_meta_value(Cursor& in, uint64_t index);

} // namespace powerinfer
