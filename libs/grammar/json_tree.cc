#include "grammar/json_tree.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "absl/strings/str_cat.h"
#include "base/string_view.h"
#include "grammar/decimal.h"
#include "grammar/json_schema.h"

namespace chimera {
namespace {

// Builds the tree; the parser keeps its own stack on the heap.
class TreeReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit TreeReader(JsonTree* root) : root_(root) {}
  const absl::Status& status() const { return status_; }

  bool null() override { return Add(JsonTree{}); }
  bool boolean(bool value) override {
    return Add({.kind = JsonTree::Kind::kBoolean, .flag = value});
  }
  bool number_integer(int64_t value) override { return Number(absl::StrCat(value)); }
  bool number_unsigned(uint64_t value) override { return Number(absl::StrCat(value)); }
  bool number_float(double, const std::string& text) override { return Number(text); }
  bool string(std::string& text) override {
    return Add({.kind = JsonTree::Kind::kString, .text = std::move(text)});
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return Open(JsonTree::Kind::kObject); }
  bool start_array(size_t) override { return Open(JsonTree::Kind::kArray); }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }
  bool key(std::string& text) override {
    if (!keys_.back().insert(text).second) {
      return Fail(absl::InvalidArgumentError(
          absl::StrCat("key \"", text.substr(0, 80), "\" is written twice in one object")));
    }
    key_ = std::move(text);
    return true;
  }
  bool parse_error(size_t at, const std::string&, const nlohmann::detail::exception& e) override {
    return Fail(absl::InvalidArgumentError(
        absl::StrCat("the schema is not JSON at byte ", at, ": ", e.what())));
  }

 private:
  bool Fail(absl::Status status) {
    status_ = std::move(status);
    return false;
  }
  bool Number(std::string text) {
    return Add({.kind = JsonTree::Kind::kNumber, .text = std::move(text)});
  }
  JsonTree* Place(JsonTree value) {
    if (open_.empty()) {
      *root_ = std::move(value);
      return root_;
    }
    JsonTree* in = open_.back();
    if (in->Is(JsonTree::Kind::kArray)) return &in->items.emplace_back(std::move(value));
    return &in->members.emplace_back(std::move(key_), std::move(value)).second;
  }
  bool Add(JsonTree value) {
    Place(std::move(value));
    return true;
  }
  // What is open is the last of its parent, which grows only after it is closed.
  bool Open(JsonTree::Kind kind) {
    if (open_.size() >= kJsonSchemaDepthMax) {
      return Fail(absl::ResourceExhaustedError(
          absl::StrCat("the schema is nested deeper than ", kJsonSchemaDepthMax, " levels")));
    }
    open_.push_back(Place({.kind = kind}));
    keys_.emplace_back();
    return true;
  }
  bool Leave() {
    open_.pop_back();
    keys_.pop_back();
    return true;
  }

  JsonTree* root_;
  std::vector<JsonTree*> open_;
  std::vector<std::unordered_set<std::string>> keys_;
  std::string key_;
  absl::Status status_;
};

}  // namespace

const JsonTree* JsonTree::Find(std::string_view key) const {
  for (const auto& [name, value] : members) {
    if (name == key) return &value;
  }
  return nullptr;
}

absl::StatusOr<JsonTree> ParseJsonTree(std::string_view text) {
  if (text.size() > size_t{kJsonSchemaBytesMax}) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the schema has ", text.size(), " bytes, the limit is ", kJsonSchemaBytesMax));
  }
  JsonTree root;
  TreeReader reader(&root);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &reader)) {
    if (!reader.status().ok()) return reader.status();
    return absl::InvalidArgumentError("the schema is not JSON");
  }
  return root;
}

bool JsonEquals(const JsonTree& a, const JsonTree& b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case JsonTree::Kind::kNull:
      return true;
    case JsonTree::Kind::kBoolean:
      return a.flag == b.flag;
    case JsonTree::Kind::kString:
      return a.text == b.text;
    case JsonTree::Kind::kNumber: {
      const auto x = Decimal::Parse(a.text), y = Decimal::Parse(b.text);
      return x.ok() && y.ok() ? *x == *y : a.text == b.text;
    }
    case JsonTree::Kind::kArray:
      return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), JsonEquals);
    case JsonTree::Kind::kObject:
      break;
  }
  if (a.members.size() != b.members.size()) return false;
  return std::all_of(a.members.begin(), a.members.end(), [&](const auto& member) {
    const JsonTree* other = b.Find(member.first);
    return other != nullptr && JsonEquals(member.second, *other);
  });
}

std::string PointerToken(std::string_view key) {
  std::string token = "/";
  for (const char c : key) {
    if (c == '~') {
      token += "~0";
    } else if (c == '/') {
      token += "~1";
    } else {
      token += c;
    }
  }
  return token;
}

}  // namespace chimera
