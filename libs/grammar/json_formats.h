// The formats of JSON Schema that are asserted, as automata.
#pragma once

#include <string_view>

#include "grammar/byte_dfa.h"

namespace chimera {

// date-time, date, time (RFC 3339, the year 0000 aside), duration, email (RFC 5321), hostname
// (RFC 1123; labels, not the whole, have a greatest length), ipv4, ipv6, uuid, uri (RFC 3986). Null
// for any other name. Built on first use, then shared. Thread-safe.
const ByteDfa* JsonFormat(std::string_view name);

}  // namespace chimera
