#include "config/json_reader.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "config/config.h"

namespace chimera {
namespace {

// Ordered: the merged text keeps the order of the file.
using Json = nlohmann::ordered_json;

constexpr int kDepthMax = 32;
constexpr size_t kKeysMax = 512;

const Json& AsJson(const void* node) { return *static_cast<const Json*>(node); }

std::string Shorten(const std::string& text) {
  constexpr size_t kShown = 80;
  return text.size() <= kShown ? text : text.substr(0, kShown) + "...";
}

std::string Dumped(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool KeyIsPlain(const std::string& key) {
  if (key.empty()) return false;
  for (char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte == 0x7f || c == '.' || c == '[' || c == ']') return false;
  }
  return true;
}

// Watches the parser: depth, number and form of keys, keys written twice.
class ShapeGuard {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    if (!problem.empty()) return false;
    if (depth > kDepthMax) return Refuse(absl::StrCat("nested deeper than ", kDepthMax, " levels"));
    if (event == Json::parse_event_t::object_start) {
      keys_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys_.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!KeyIsPlain(key)) {
        return Refuse(absl::StrCat("key \"", Shorten(key),
                                   "\" is empty or holds a space, '.', '[', ']' or control byte"));
      }
      if (!keys_.back().insert(key).second) {
        return Refuse(absl::StrCat("key \"", Shorten(key), "\" is written twice"));
      }
      if (keys_.back().size() > kKeysMax) {
        return Refuse(absl::StrCat("an object holds more than ", kKeysMax, " keys"));
      }
    }
    return true;
  }

  std::string problem;

 private:
  bool Refuse(const std::string& why) {
    problem = why;
    return false;
  }
  std::vector<std::set<std::string>> keys_;
};

LeafType TypeOf(const Json& value) {
  switch (value.type()) {
    case Json::value_t::boolean:
      return LeafType::kBool;
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return LeafType::kInt;
    case Json::value_t::number_float:
      return LeafType::kFloat;
    case Json::value_t::string:
      return LeafType::kString;
    case Json::value_t::array:
      return LeafType::kArray;
    case Json::value_t::object:
      return LeafType::kObject;
    default:
      return LeafType::kNull;
  }
}

bool HoldsObject(const Json& array) {
  for (const Json& element : array) {
    if (element.is_object() || (element.is_array() && HoldsObject(element))) return true;
  }
  return false;
}

std::string ElementPath(const std::string& path, const Json& element) {
  if (element.is_object()) {
    auto name = element.find("name");
    if (name != element.end() && name->is_string() &&
        KeyIsPlain(name->get_ref<const std::string&>())) {
      return absl::StrCat(path, "[", name->get_ref<const std::string&>(), "]");
    }
  }
  return absl::StrCat(path, "[]");
}

void Walk(const Json& node, const std::string& path, std::vector<Leaf>* out) {
  if (node.is_object() && !node.empty()) {
    for (const auto& [key, value] : node.items()) {
      Walk(value, path.empty() ? key : absl::StrCat(path, ".", key), out);
    }
  } else if (node.is_array() && HoldsObject(node)) {
    for (const Json& element : node) Walk(element, ElementPath(path, element), out);
  } else {
    out->push_back({path, TypeOf(node), Dumped(node)});
  }
}

// True and the value when it is an integer of int64.
bool IntOf(const Json& value, int64_t* out) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return false;
  }
  *out = value.get<int64_t>();
  return true;
}

// "4M" -> 4000000. Digits, an optional fraction, one of K M B T.
bool CountOf(const std::string& label, int64_t* out) {
  size_t at = 0;
  double value = 0;
  while (at < label.size() && label[at] >= '0' && label[at] <= '9')
    value = value * 10 + (label[at++] - '0');
  if (at == 0) return false;
  if (at < label.size() && label[at] == '.') {
    double unit = 0.1;
    for (++at; at < label.size() && label[at] >= '0' && label[at] <= '9'; ++at, unit /= 10) {
      value += unit * (label[at] - '0');
    }
  }
  double scale = 1;
  if (at < label.size()) {
    const size_t power = std::string("KMBT").find(label[at++]);
    if (power == std::string::npos) return false;
    for (size_t i = 0; i <= power; ++i) scale *= 1000;
  }
  if (at != label.size() || value * scale > 1e18) return false;
  *out = std::llround(value * scale);
  return true;
}

}  // namespace

const char* LeafTypeName(LeafType type) {
  switch (type) {
    case LeafType::kNull:
      return "null";
    case LeafType::kBool:
      return "true or false";
    case LeafType::kInt:
      return "an integer";
    case LeafType::kFloat:
      return "a number";
    case LeafType::kString:
      return "a string";
    case LeafType::kArray:
      return "an array";
    case LeafType::kObject:
      return "an object";
  }
  return "unknown";
}

struct JsonDocument::Impl {
  Json root;
};

JsonDocument::JsonDocument(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

absl::StatusOr<JsonDocument> JsonDocument::Parse(const std::string& text,
                                                 const std::string& origin) {
  if (text.size() > kConfigBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": ", text.size(), " bytes exceed the limit of ", kConfigBytesMax));
  }
  ShapeGuard guard;
  auto impl = std::make_unique<Impl>();
  impl->root = Json::parse(
      text,
      [&guard](int depth, Json::parse_event_t event, Json& parsed) {
        return guard(depth, event, parsed);
      },
      /*allow_exceptions=*/false);
  if (!guard.problem.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": ", guard.problem));
  }
  if (impl->root.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": not valid JSON"));
  }
  if (!impl->root.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin, ": must be an object, is ", LeafTypeName(TypeOf(impl->root))));
  }
  return JsonDocument(std::move(impl));
}

void JsonDocument::MergePatch(const JsonDocument& overlay) {
  impl_->root.merge_patch(overlay.impl_->root);
}

bool JsonDocument::Has(const std::vector<std::string>& parts) const {
  const Json* node = &impl_->root;
  for (const std::string& part : parts) {
    if (!node->is_object()) return false;
    auto found = node->find(part);
    if (found == node->end()) return false;
    node = &*found;
  }
  return true;
}

void JsonDocument::Erase(const std::vector<std::string>& parts) {
  if (parts.empty() || !Has(parts)) return;
  Json* node = &impl_->root;
  for (size_t i = 0; i + 1 < parts.size(); ++i) node = &(*node)[parts[i]];
  node->erase(parts.back());
}

std::string JsonDocument::Dump() const {
  return impl_->root.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string JsonDocument::DumpAt(const std::string& key) const {
  return Has({key}) ? Dumped(impl_->root[key]) : "{}";
}

std::vector<Leaf> JsonDocument::Leaves() const {
  std::vector<Leaf> leaves;
  if (!impl_->root.empty()) Walk(impl_->root, "", &leaves);
  return leaves;
}

Reader::Reader(const JsonDocument& document)
    : node_(&document.impl_->root), state_(std::make_shared<State>()) {}

Reader::Reader(std::shared_ptr<State> state, const void* node, std::string path, std::string where,
               bool claiming, bool optional)
    : node_(node),
      state_(std::move(state)),
      path_(std::move(path)),
      where_(std::move(where)),
      claiming_(claiming),
      optional_(optional) {}

std::string Reader::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : absl::StrCat(path_, ".", std::string(key));
}

Reader Reader::Unclaimed() const { return Reader(state_, node_, path_, where_, false, optional_); }

Reader Reader::Optional() const { return Reader(state_, node_, path_, where_, claiming_, true); }

const void* Reader::Find(const std::string& key) const {
  if (node_ == nullptr || !AsJson(node_).is_object()) return nullptr;
  auto found = AsJson(node_).find(key);
  return found == AsJson(node_).end() ? nullptr : &*found;
}

bool Reader::Has(std::string_view key) const { return Find(std::string(key)) != nullptr; }

const void* Reader::Take(const std::string& key) {
  if (node_ == nullptr || !state_->status.ok()) return nullptr;
  const void* value = Find(key);
  if (value == nullptr) {
    if (!optional_) {
      state_->status = absl::InvalidArgumentError(absl::StrCat(PathOf(key), " is missing"));
    }
    return nullptr;
  }
  if (claiming_) state_->claims.push_back({PathOf(key), where_});
  return value;
}

void Reader::Fail(const std::string& key, const std::string& why) {
  if (!state_->status.ok()) return;
  const void* value = Find(key);
  const std::string shown =
      value == nullptr ? "" : absl::StrCat(" = ", Shorten(Dumped(AsJson(value))));
  state_->status = absl::InvalidArgumentError(absl::StrCat(PathOf(key), shown, " ", why));
}

void Reader::FailAt(const std::string& entry, const std::string& why) {
  if (!state_->status.ok()) return;
  state_->status = absl::InvalidArgumentError(absl::StrCat(PathOf(entry), " ", why));
}

void Reader::FailType(const std::string& key, const void* value, const char* wanted) {
  Fail(key, absl::StrCat("must be ", wanted, ", is ", LeafTypeName(TypeOf(AsJson(value)))));
}

Reader Reader::At(const std::string& key) {
  const void* child = nullptr;
  if (node_ != nullptr && state_->status.ok()) {
    child = Find(key);
    if (child == nullptr && !optional_) {
      state_->status = absl::InvalidArgumentError(absl::StrCat(PathOf(key), " is missing"));
    } else if (child != nullptr && !AsJson(child).is_object()) {
      FailType(key, child, "an object");
      child = nullptr;
    }
    if (child != nullptr) state_->opened.push_back(PathOf(key));
  }
  return Reader(state_, child, PathOf(key), where_, claiming_, optional_);
}

Reader Reader::At(const std::string& key, const std::string& name) {
  const std::string path = absl::StrCat(PathOf(key), "[", name, "]");
  const void* child = nullptr;
  if (node_ != nullptr && state_->status.ok()) {
    const void* array = Find(key);
    if (array != nullptr && AsJson(array).is_array()) {
      for (const Json& element : AsJson(array)) {
        if (ElementPath(PathOf(key), element) != path) continue;
        if (child != nullptr) Fail(key, absl::StrCat("holds two elements named ", name));
        child = &element;
      }
    }
    if (child == nullptr) {
      Fail(key, absl::StrCat("must be an array with an element named ", name));
    }
  }
  return Reader(state_, state_->status.ok() ? child : nullptr, path, where_, claiming_, optional_);
}

void Reader::Bool(const std::string& key, bool* out) {
  const void* value = Take(key);
  if (value == nullptr) return;
  if (!AsJson(value).is_boolean()) return FailType(key, value, "true or false");
  *out = AsJson(value).get<bool>();
}

void Reader::Int(const std::string& key, int64_t min, int64_t max, int64_t* out) {
  const void* value = Take(key);
  if (value == nullptr) return;
  int64_t number = 0;
  if (!AsJson(value).is_number_integer()) return FailType(key, value, "an integer");
  if (!IntOf(AsJson(value), &number) || number < min || number > max) {
    return Fail(key, absl::StrCat("is outside ", min, "..", max));
  }
  *out = number;
}

void Reader::Int(const std::string& key, int64_t min, int64_t max, int* out) {
  int64_t number = *out;
  Int(key, min, max, &number);
  *out = static_cast<int>(number);
}

void Reader::Float(const std::string& key, double min, double max, double* out) {
  const void* value = Take(key);
  if (value == nullptr) return;
  if (!AsJson(value).is_number()) return FailType(key, value, "a number");
  const double number = AsJson(value).get<double>();
  if (!(number >= min && number <= max)) {
    return Fail(key, absl::StrCat("is outside ", min, "..", max));
  }
  *out = number;
}

void Reader::Float(const std::string& key, double min, double max, float* out) {
  double number = *out;
  Float(key, min, max, &number);
  *out = static_cast<float>(number);
}

void Reader::String(const std::string& key, std::string* out) {
  const void* value = Take(key);
  if (value == nullptr) return;
  if (!AsJson(value).is_string()) return FailType(key, value, "a string");
  *out = AsJson(value).get<std::string>();
}

void Reader::Ints(const std::string& key, int64_t min, int64_t max, size_t size_max,
                  std::vector<int>* out) {
  const void* value = Take(key);
  if (value == nullptr) return;
  const Json& array = AsJson(value);
  if (!array.is_array()) return FailType(key, value, "an array of integers");
  if (array.size() > size_max) {
    return Fail(key, absl::StrCat("holds ", array.size(), " entries, at most ", size_max));
  }
  out->clear();
  for (size_t i = 0; i < array.size(); ++i) {
    int64_t number = 0;
    if (!IntOf(array[i], &number) || number < min || number > max) {
      state_->status = absl::InvalidArgumentError(absl::StrCat(
          PathOf(key), "[", i, "] = ", Shorten(Dumped(array[i])), " is outside ", min, "..", max));
      return;
    }
    out->push_back(static_cast<int>(number));
  }
}

void Reader::NumberAndText(const std::string& key, double min, double max, float* number,
                           std::string* text) {
  const void* value = Take(key);
  if (value == nullptr) return;
  const Json& array = AsJson(value);
  if (!array.is_array() || array.size() != 2 || !array[0].is_number() || !array[1].is_string()) {
    return FailType(key, value, "a number and a string");
  }
  const double found = array[0].get<double>();
  if (!(found >= min && found <= max)) {
    return Fail(key, absl::StrCat("holds a number outside ", min, "..", max));
  }
  *number = static_cast<float>(found);
  *text = array[1].get<std::string>();
}

void Reader::Strings(const std::string& key, size_t size_max, std::vector<std::string>* out) {
  const void* value = Take(key);
  if (value == nullptr) return;
  const Json& array = AsJson(value);
  if (!array.is_array()) return FailType(key, value, "an array of strings");
  if (array.size() > size_max) {
    return Fail(key, absl::StrCat("holds ", array.size(), " entries, at most ", size_max));
  }
  out->clear();
  for (const Json& element : array) {
    if (!element.is_string()) return Fail(key, "must hold strings only");
    out->push_back(element.get<std::string>());
  }
}

void Reader::Count(const std::string& key, int64_t* out) {
  const void* value = Take(key);
  if (value == nullptr) return;
  const Json& json = AsJson(value);
  int64_t number = 0;
  const bool good = json.is_string() ? CountOf(json.get_ref<const std::string&>(), &number)
                                     : IntOf(json, &number);
  if (!good || number < 0) {
    return Fail(key, "must be a count: an integer, or a string such as \"4M\"");
  }
  *out = number;
}

void Reader::Label(const std::string& key, std::string* out) {
  const void* value = Take(key);
  if (value == nullptr) return;
  const Json& json = AsJson(value);
  if (!json.is_string() && !json.is_number()) return FailType(key, value, "a string or a number");
  *out = json.is_string() ? json.get<std::string>() : Dumped(json);
}

void Reader::StringMap(std::vector<std::pair<std::string, std::string>>* out) {
  if (node_ == nullptr) return;
  out->clear();
  for (const auto& item : AsJson(node_).items()) {
    std::string value;
    String(item.key(), &value);
    out->emplace_back(item.key(), value);
  }
}

void Reader::IntMap(int64_t min, int64_t max, std::vector<std::pair<std::string, int64_t>>* out) {
  if (node_ == nullptr) return;
  out->clear();
  for (const auto& item : AsJson(node_).items()) {
    int64_t value = 0;
    Int(item.key(), min, max, &value);
    out->emplace_back(item.key(), value);
  }
}

void Reader::FloatMap(std::vector<std::pair<std::string, double>>* out) {
  if (node_ == nullptr) return;
  out->clear();
  for (const auto& item : AsJson(node_).items()) {
    double value = 0;
    Float(item.key(), -1e30, 1e30, &value);
    out->emplace_back(item.key(), value);
  }
}

void Reader::FixedBool(const std::string& key, bool value) {
  bool found = value;
  Bool(key, &found);
  if (found != value)
    Fail(key, absl::StrCat("is not supported, only ", value ? "true" : "false", " is"));
}

void Reader::FixedInt(const std::string& key, int64_t value) {
  int64_t found = value;
  Int(key, INT64_MIN, INT64_MAX, &found);
  if (found != value) Fail(key, absl::StrCat("is not supported, only ", value, " is"));
}

void Reader::FixedString(const std::string& key, const std::string& value) {
  std::string found = value;
  String(key, &found);
  if (found != value) Fail(key, absl::StrCat("is not supported, only \"", value, "\" is"));
}

void Reader::RejectUnread(const JsonDocument& document) {
  if (!state_->status.ok()) return;
  std::set<std::string> read;
  for (const Claim& claim : state_->claims) read.insert(claim.path);
  const std::set<std::string> opened(state_->opened.begin(), state_->opened.end());
  for (const Leaf& leaf : document.Leaves()) {
    if (read.count(leaf.path) != 0) continue;
    if (leaf.type == LeafType::kObject && opened.count(leaf.path) != 0) continue;
    state_->status = absl::InvalidArgumentError(absl::StrCat(leaf.path, " is an unknown key"));
    return;
  }
}

}  // namespace chimera
