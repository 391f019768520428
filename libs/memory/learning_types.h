// What goes into a UserLearning and comes out of it, and the bounds of every field. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hdc/entity_codes.h"
#include "memory/guidelines.h"

namespace chimera {

inline constexpr size_t kCasesPerCallMax = 64;  // to add, or situations to find cases for
inline constexpr int kFoundCasesMax = 64;       // for each situation
inline constexpr size_t kVotersMax = 64;
inline constexpr size_t kEntitiesPerCallMax = 64;
inline constexpr size_t kEntityTextBytesMax = 256;  // a name or a filler

// An episode that ended: what the situation was, what was done, how it went.
struct NewCase {
  std::string situation;  // UTF-8, 1..16,384 bytes; only its sketch is kept
  std::string plan;       // UTF-8, 1..900 bytes
  std::string tags;       // UTF-8, at most 96 bytes
  double outcome = 0;     // 0..1
};

struct AddedCase {
  std::string case_id;   // 16 lower-case hex digits, also when it was not added
  bool created = false;  // false: |outcome - 0.5| is at most 0.2, or the case was there
};

// Best first: by probability (episodic_cases.h).
struct FoundCase {
  std::string case_id;
  std::string plan;
  std::string tags;
  float similarity = 0;    // 1 - 2 * hamming / 8192, of the situations
  double q = 0;            // learned value, in [0, 1]
  uint32_t outcomes = 0;   // that shaped it
  double probability = 0;  // pi(case | situation)
  double share = 0;        // to be handed back with the outcome
};

struct CaseOutcome {
  std::string case_id;
  double outcome = 0;  // 0..1
  double share = 1;    // FoundCase::share: how much of the outcome the case takes, 0..1
};

struct NewGuideline {
  std::string context;  // UTF-8, 1..16,384 bytes; only its sketch is kept
  GuidelineAction action = GuidelineAction::kIgnoreItemClass;
  std::string text;  // UTF-8, 1..2,048 bytes, for people
  double delta = 0;  // what memory was worth there; finite
};

struct LearnedGuideline {
  std::string guideline_id;
  bool created = false;  // false: delta is -0.05 or more, or the guideline was there
};

struct GivenAdvice {
  struct Voter {
    std::string guideline_id;
    std::string text;
    float weight = 0;
  };
  GuidelineAction action = GuidelineAction::kIgnoreItemClass;
  double votes = 0;           // weight behind it
  std::vector<Voter> voters;  // nearest first
};

// "Ada" has gender "female". A role has one filler: a later one takes its place.
struct EntityStatement {
  std::string name;                     // UTF-8, 1..256 bytes
  EntityRole role = EntityRole::kType;  // any but kName
  std::string filler;                   // UTF-8, 1..256 bytes
};

struct EntityChange {
  bool created = false;  // the entity was not known before
  std::string replaced;  // the role's filler before, or empty
  std::string evicted;   // the entity that made room, or empty
};

struct EntityInfo {
  struct Part {
    EntityRole role = EntityRole::kType;
    std::string filler;
  };
  std::string name;
  std::vector<Part> parts;  // in the order they were said; at most 6
};

// What a pronoun says: an entity that is known to be otherwise is left out.
struct EntityFilter {
  std::optional<std::string> number;
  std::optional<std::string> gender;
};

// "name", "type", .., "other".
const char* EntityRoleName(EntityRole role);

}  // namespace chimera
