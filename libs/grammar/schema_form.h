// What a schema comes down to: a choice of forms, each of them one JSON type with its limits.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "grammar/byte_dfa.h"
#include "grammar/number_dfa.h"
#include "grammar/rules.h"

namespace chimera {

// A set of schemas that have to hold together; SchemaForms numbers them.
using FormId = uint32_t;
inline constexpr FormId kAnything = 0;
inline constexpr FormId kNothing = 1;

enum class JsonType : uint8_t { kNull, kBoolean, kNumber, kString, kArray, kObject };
inline constexpr int kJsonTypes = 6;

struct StringForm {
  std::vector<const ByteDfa*> all_of;  // the text is in all of them
  uint32_t min = 0, max = kUnbounded;  // characters
  // Only these, sorted; then there is no other limit.
  std::shared_ptr<const std::vector<std::string>> one_of;
};

struct ArrayForm {
  std::vector<FormId> first;
  FormId rest = kAnything;
  uint32_t min = 0, max = kUnbounded;
  FormId At(size_t i) const { return i < first.size() ? first[i] : rest; }
};

struct ObjectForm {
  struct Property {
    std::string name;
    FormId value = kAnything;
    bool required = false;
  };
  // Names that are not those of properties. The rests of a form are disjoint; what is in none of
  // them is not allowed.
  struct Rest {
    const ByteDfa* names = nullptr;  // null: all
    FormId value = kAnything;
  };
  std::vector<Property> properties;
  std::vector<Rest> rests = {Rest{}};
  uint32_t min = 0, max = kUnbounded;
};

struct Form {
  JsonType type = JsonType::kNull;
  uint8_t booleans = 3;  // 1: false, 2: true
  NumberSet number;
  StringForm string;
  ArrayForm array;
  ObjectForm object;
  // Why rules cannot express it, with a pointer. An error once it is certain that it is needed.
  std::string refused;

  bool unlimited() const;
};

}  // namespace chimera
