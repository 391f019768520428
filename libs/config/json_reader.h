// Typed reads from JSON that record what was read. A key is claimed when a reader takes its value,
// so the coverage registry (config/registry.h) is true by construction. Internal to this library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace chimera {

// One read of one key: the path and the code the value acts in.
struct Claim {
  std::string path;
  std::string where;
};

enum class LeafType : uint8_t { kNull, kBool, kInt, kFloat, kString, kArray, kObject };

// A key whose value is a scalar, an array without objects inside, or an empty object.
struct Leaf {
  std::string path;
  LeafType type = LeafType::kNull;
  std::string value;  // as JSON
};

const char* LeafTypeName(LeafType type);

// A parsed document. Accepts at most 1 MiB, 32 levels and 512 keys an object; keys are non-empty,
// unique and free of '.', '[', ']', space and control characters, so that a path is unambiguous.
// *Thread-compatible*.
class JsonDocument {
 public:
  // origin names the text in errors ("overlay 1").
  static absl::StatusOr<JsonDocument> Parse(const std::string& text, const std::string& origin);
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();

  // RFC 7396: objects merge, null deletes, everything else replaces.
  void MergePatch(const JsonDocument& overlay);
  // Parts are object keys, outermost first.
  bool Has(const std::vector<std::string>& parts) const;
  void Erase(const std::vector<std::string>& parts);
  // The text of the object at a key; "{}" when it is absent.
  std::string Dump() const;
  std::string DumpAt(const std::string& key) const;
  // Every leaf in file order. An object inside an array is addressed by its "name" when it has one,
  // otherwise all of them share "[]": "training.phases[sft].lr".
  std::vector<Leaf> Leaves() const;

 private:
  friend class Reader;
  struct Impl;
  explicit JsonDocument(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Reads the members of one object. The first error sticks and turns every later read into a no-op,
// so that code reads flat and asks status() once. Borrows the document. *Thread-compatible*.
class Reader {
 public:
  // The root object.
  explicit Reader(const JsonDocument& document);

  const absl::Status& status() const { return state_->status; }
  const std::vector<Claim>& claims() const { return state_->claims; }
  std::string PathOf(std::string_view key) const;
  bool Has(std::string_view key) const;

  // Names the code that uses the values read from here on (this reader and later children).
  void ActsIn(const std::string& where) { where_ = where; }
  // A reader of the same object whose reads check types and ranges but claim nothing: the value is
  // handed over, the feature that makes it act is still pending.
  Reader Unclaimed() const;
  // A reader of the same object that leaves outputs as they are when a member is missing.
  Reader Optional() const;

  // A member object; a missing one is an error. At(key, name): the element of a member array whose
  // "name" says so.
  Reader At(const std::string& key);
  Reader At(const std::string& key, const std::string& name);

  // Members.
  void Bool(const std::string& key, bool* out);
  void Int(const std::string& key, int64_t min, int64_t max, int64_t* out);
  void Int(const std::string& key, int64_t min, int64_t max, int* out);
  void Float(const std::string& key, double min, double max, double* out);
  void Float(const std::string& key, double min, double max, float* out);
  void String(const std::string& key, std::string* out);
  void Ints(const std::string& key, int64_t min, int64_t max, size_t size_max,
            std::vector<int>* out);
  void Strings(const std::string& key, size_t size_max, std::vector<std::string>* out);
  // A count as a number or a label such as "4M" or "2T" (powers of 1,000).
  void Count(const std::string& key, int64_t* out);
  // A scalar kept as text: strings as they are, numbers as JSON.
  void Label(const std::string& key, std::string* out);
  // An array of a number and what it means: [8192, "uint64_x128"].
  void NumberAndText(const std::string& key, double min, double max, float* number,
                     std::string* text);
  // Every member of this object, all of one type.
  void StringMap(std::vector<std::pair<std::string, std::string>>* out);
  void IntMap(int64_t min, int64_t max, std::vector<std::pair<std::string, int64_t>>* out);
  void FloatMap(std::vector<std::pair<std::string, double>>* out);

  // Values this code supports exactly one of.
  void FixedBool(const std::string& key, bool value);
  void FixedInt(const std::string& key, int64_t value);
  void FixedString(const std::string& key, const std::string& value);

  // Sticks an error at a key: "path = value why", where why starts with a verb.
  void Fail(const std::string& key, const std::string& why);
  // The same for a part of a member: entry is "layers[2] = 30".
  void FailAt(const std::string& entry, const std::string& why);
  // Sticks "unknown key" for the first leaf below the root that no read claimed; an
  // empty object is fine where a reader stepped into it.
  void RejectUnread(const JsonDocument& document);

 private:
  struct State {
    absl::Status status;
    std::vector<Claim> claims;
    std::vector<std::string> opened;  // objects a reader stepped into
  };
  Reader(std::shared_ptr<State> state, const void* node, std::string path, std::string where,
         bool claiming, bool optional);
  const void* Find(const std::string& key) const;
  // Find, plus the claim and the error of a missing key. Null when the read is off.
  const void* Take(const std::string& key);
  void FailType(const std::string& key, const void* value, const char* wanted);

  const void* node_ = nullptr;  // null: reads are off because an error came before
  std::shared_ptr<State> state_;
  std::string path_;
  std::string where_;
  bool claiming_ = true;
  bool optional_ = false;
};

}  // namespace chimera
