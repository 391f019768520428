#include "grammar/json_rules.h"

#include "grammar/byte_dfa.h"
#include "grammar/utf8_steps.h"

namespace chimera {
namespace {

constexpr std::string_view kSpaceBytes = " \t\n\r";

void SpaceByte(RuleBuilder* b, uint32_t from, uint32_t to) {
  for (const char c : kSpaceBytes) b->Text(from, std::string_view(&c, 1), to);
}

}  // namespace

uint8_t JsonRules::free_flags() const {
  return checking() ? kPlaceAnyEscape | kPlaceLoneSurrogates : kPlaceAnyEscape;
}

// Generating, an escape of a character that is not allowed would have to be foreseen at its first
// digit: only what JSON cannot hold as it is gets one.
uint8_t JsonRules::bound_flags() const { return checking() ? free_flags() : 0; }

bool JsonRules::Known(Part part, std::string_view name, uint32_t* rule) {
  const bool known = rules_[part] != kNoRule;
  if (!known) rules_[part] = b_->AddRule(name);
  *rule = rules_[part];
  return known;
}

void JsonRules::Space(uint32_t from, uint32_t to) {
  if (compact_) return b_->Empty(from, to);
  if (checking()) {
    SpaceByte(b_, from, from);
    return b_->Empty(from, to);
  }
  uint32_t rule;
  if (!Known(kSpace, "white space", &rule)) {
    b_->SetCounts(rule, 0, kJsonSpaceMax);
    const uint32_t one = b_->AddPlace(rule);
    b_->Jump(b_->start(rule), RuleJump::Kind::kCountUp, kJsonSpaceMax, one);
    SpaceByte(b_, one, b_->start(rule));
    b_->Jump(b_->start(rule), RuleJump::Kind::kCountAbove, 0, b_->end(rule));
  }
  b_->Call(from, rule, to);
}

uint32_t JsonRules::AfterSpace(uint32_t from) {
  const uint32_t rule = b_->rule_of(from);
  const uint32_t before = b_->AddPlace(rule), after = b_->AddPlace(rule);
  b_->Empty(from, before);
  Space(before, after);
  return after;
}

uint32_t JsonRules::Document(uint32_t value) {
  const uint32_t rule = b_->AddRule(b_->name(value));
  const uint32_t before = AfterSpace(b_->start(rule)), after = b_->AddPlace(rule);
  b_->Call(before, value, after);
  if (checking()) {
    Space(after, b_->end(rule));
  } else {
    if (!compact_) SpaceByte(b_, after, b_->end(rule));
    b_->Empty(after, b_->end(rule));
  }
  return rule;
}

void JsonRules::FreeText(uint32_t content, uint8_t flags, uint32_t close_to) {
  const uint32_t rule = b_->rule_of(content);
  std::array<uint32_t, kUtf8Places> places;
  for (uint32_t& place : places) place = b_->AddPlace(rule);
  places[0] = content;
  for (int at = 0; at < kUtf8Places; ++at) {
    const auto flag =
        static_cast<uint8_t>(at == 0 ? flags | kPlaceBetween : flags & ~kPlaceCounted);
    b_->MakeString(places[size_t(at)], flag, at == 0 ? close_to : kNoPlace);
    for (int low = 0, byte = 0; byte < 256; ++byte) {
      const int to = Utf8Step(at, static_cast<uint8_t>(byte));
      if (byte < 255 && Utf8Step(at, static_cast<uint8_t>(byte + 1)) == to) continue;
      if (to != kUtf8Bad) {
        b_->Bytes(places[size_t(at)], static_cast<uint8_t>(low), static_cast<uint8_t>(byte),
                  places[size_t(to)]);
      }
      low = byte + 1;
    }
  }
}

uint32_t JsonRules::AnyString() {
  uint32_t rule;
  if (Known(kString, "string", &rule)) return rule;
  const uint32_t content = b_->AddPlace(rule);
  b_->Text(b_->start(rule), "\"", content);
  FreeText(content, free_flags(), b_->end(rule));
  return rule;
}

// Checking there is no most.
void JsonRules::Digits(uint32_t from, int at_least, int at_most, uint32_t to) {
  if (checking()) {
    if (at_least > 0) {
      const uint32_t more = b_->AddPlace(b_->rule_of(from));
      b_->Bytes(from, '0', '9', more);
      from = more;
    }
    b_->Bytes(from, '0', '9', from);
    return b_->Empty(from, to);
  }
  for (int i = 0; i < at_most; ++i) {
    if (i >= at_least) b_->Empty(from, to);
    const uint32_t more = b_->AddPlace(b_->rule_of(from));
    b_->Bytes(from, '0', '9', more);
    from = more;
  }
  b_->Empty(from, to);
}

uint32_t JsonRules::AnyNumber() {
  uint32_t rule;
  if (Known(kNumber, "number", &rule)) return rule;
  const auto place = [&] { return b_->AddPlace(rule); };
  const uint32_t whole = place(), more = place(), point = place(), part = place(), power = place(),
                 sign = place(), exponent = place();
  b_->Text(b_->start(rule), "-", whole);
  b_->Empty(b_->start(rule), whole);
  b_->Text(whole, "0", point);
  b_->Bytes(whole, '1', '9', more);
  Digits(more, 0, kJsonDigitsMax - 1, point);
  b_->Text(point, ".", part);
  Digits(part, 1, kJsonDigitsMax, power);
  b_->Empty(point, power);
  b_->Text(power, "e", sign);
  b_->Text(power, "E", sign);
  b_->Text(sign, "+", exponent);
  b_->Text(sign, "-", exponent);
  b_->Empty(sign, exponent);
  Digits(exponent, 1, 2, b_->end(rule));
  b_->Empty(power, b_->end(rule));
  return rule;
}

uint32_t JsonRules::Boolean() {
  uint32_t rule;
  if (Known(kBoolean, "boolean", &rule)) return rule;
  b_->Text(b_->start(rule), "true", b_->end(rule));
  b_->Text(b_->start(rule), "false", b_->end(rule));
  return rule;
}

uint32_t JsonRules::AnyObject() {
  uint32_t rule;
  if (Known(kObject, "object", &rule)) return rule;
  const uint32_t open = b_->AddPlace(rule), key = b_->AddPlace(rule),
                 after_key = b_->AddPlace(rule), colon = b_->AddPlace(rule),
                 after = b_->AddPlace(rule), comma = b_->AddPlace(rule);
  b_->Text(b_->start(rule), "{", open);
  const uint32_t first = AfterSpace(open), next = AfterSpace(comma);
  b_->Text(first, "}", b_->end(rule));
  b_->Empty(first, key);
  b_->Empty(next, key);
  b_->Call(key, AnyString(), after_key);
  b_->Text(AfterSpace(after_key), ":", colon);
  b_->Call(AfterSpace(colon), AnyValue(), after);
  const uint32_t behind = AfterSpace(after);
  b_->Text(behind, ",", comma);
  b_->Text(behind, "}", b_->end(rule));
  return rule;
}

uint32_t JsonRules::AnyArray() {
  uint32_t rule;
  if (Known(kArray, "array", &rule)) return rule;
  const uint32_t open = b_->AddPlace(rule), item = b_->AddPlace(rule), after = b_->AddPlace(rule),
                 comma = b_->AddPlace(rule);
  b_->Text(b_->start(rule), "[", open);
  const uint32_t first = AfterSpace(open);
  b_->Text(first, "]", b_->end(rule));
  b_->Empty(first, item);
  b_->Call(item, AnyValue(), after);
  const uint32_t behind = AfterSpace(after);
  b_->Text(behind, "]", b_->end(rule));
  b_->Text(behind, ",", comma);
  b_->Empty(AfterSpace(comma), item);
  return rule;
}

uint32_t JsonRules::AnyValue() {
  uint32_t rule;
  if (Known(kValue, "value", &rule)) return rule;
  b_->Text(b_->start(rule), "null", b_->end(rule));
  for (const uint32_t part : {Boolean(), AnyString(), AnyNumber(), AnyObject(), AnyArray()}) {
    b_->Call(b_->start(rule), part, b_->end(rule));
  }
  return rule;
}

}  // namespace chimera
