// The obvious twin of the tokenizer, for tests: a backtracking matcher that follows the regular
// expression alternative by alternative, and the quadratic merge. Never linked into a service.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"
#include "text/unicode_classes.h"
#include "text/utf8.h"

namespace chimera {

// Thread-compatible.
class NaiveTokenizer {
 public:
  explicit NaiveTokenizer(const Tokenizer& tokenizer) {
    for (int id = 0; id < tokenizer.n_ranks(); ++id) {
      ranks_[std::string(tokenizer.TokenBytes(id))] = id;
    }
  }

  // Byte lengths of the pieces.
  std::vector<int> Pieces(std::string_view text) {
    ReadChars(text);
    std::vector<int> pieces;
    for (size_t at = 0; at < chars_.size();) {
      const size_t end = MatchAt(at);
      int bytes = 0;
      for (; at < end; ++at) bytes += chars_[at].length;
      pieces.push_back(bytes);
    }
    return pieces;
  }

  std::vector<int32_t> Encode(std::string_view text) {
    std::vector<int32_t> ids;
    size_t at = 0;
    for (const int size : Pieces(text)) {
      const auto whole = ranks_.find(std::string(text.substr(at, size)));
      if (whole != ranks_.end()) {
        ids.push_back(whole->second);
      } else {
        Merge(text.substr(at, size), &ids);
      }
      at += size;
    }
    return ids;
  }

  // The rule itself, without looking the whole piece up first.
  void Merge(std::string_view piece, std::vector<int32_t>* ids) const {
    std::vector<std::string> parts;
    for (const char c : piece) parts.emplace_back(1, c);
    while (true) {
      int best_rank = -1;
      size_t best = 0;
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        const auto joined = ranks_.find(parts[i] + parts[i + 1]);
        if (joined != ranks_.end() && (best_rank < 0 || joined->second < best_rank)) {
          best_rank = joined->second;
          best = i;
        }
      }
      if (best_rank < 0) break;
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + best + 1);
    }
    for (const std::string& part : parts) ids->push_back(ranks_.at(part));
  }

 private:
  static constexpr size_t kFail = static_cast<size_t>(-1);
  struct Char {
    uint32_t code;  // 0x110000 for a byte that is no UTF-8
    CharClass kind;
    int length;
  };

  void ReadChars(std::string_view text) {
    chars_.clear();
    for (size_t at = 0; at < text.size();) {
      const Utf8Char c = Utf8At(text, at);
      if (c.kind == Utf8Char::Kind::kValid) {
        chars_.push_back({c.code_point, CodePointClasses::Get().Of(c.code_point), c.length});
      } else {
        chars_.push_back({0x110000, CharClass::kOther, 1});
      }
      at += chars_.back().length;
    }
  }

  bool Is(size_t at, CharClass kind) const { return at < chars_.size() && chars_[at].kind == kind; }
  bool IsCode(size_t at, uint32_t code) const {
    return at < chars_.size() && chars_[at].code == code;
  }
  bool UpperOrBoth(size_t at) const {  // Lu Lt Lm Lo M
    return Is(at, CharClass::kUpper) || Both(at);
  }
  bool LowerOrBoth(size_t at) const {  // Ll Lm Lo M
    return Is(at, CharClass::kLower) || Both(at);
  }
  bool Both(size_t at) const { return Is(at, CharClass::kCaseless) || Is(at, CharClass::kMark); }
  bool Letter(size_t at) const {
    return Is(at, CharClass::kUpper) || Is(at, CharClass::kLower) || Is(at, CharClass::kCaseless);
  }
  bool Newline(size_t at) const { return Is(at, CharClass::kNewline); }
  bool Space(size_t at) const { return Is(at, CharClass::kSpace) || Newline(at); }
  bool Prefix(size_t at) const {
    return at < chars_.size() && !Newline(at) && !Letter(at) && !Is(at, CharClass::kNumber);
  }

  // (?i:'s|'t|'re|'ve|'m|'ll|'d)?
  size_t Contraction(size_t at) const {
    if (!IsCode(at, '\'')) return at;
    const auto letter = [&](size_t i, char c) {
      return IsCode(i, c) || IsCode(i, c - 32) || (c == 's' && IsCode(i, 0x17F));
    };
    for (const char* ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
      size_t end = at + 1;
      while (*ending != 0 && letter(end, *ending)) ++end, ++ending;
      if (*ending == 0) return end;
    }
    return at;
  }

  // [upper]*[lower]+ or, with upper_first, [upper]+[lower]*: tries every length of the first run,
  // longest first.
  size_t Word(size_t at, bool upper_first) const {
    size_t longest = at;
    while (UpperOrBoth(longest)) ++longest;
    for (size_t middle = longest;; --middle) {
      size_t end = middle;
      while (LowerOrBoth(end)) ++end;
      if (upper_first ? middle > at : end > middle) return Contraction(end);
      if (middle == at) return kFail;
    }
  }

  size_t MatchAt(size_t at) const {
    for (const bool upper_first : {false, true}) {
      if (Prefix(at)) {
        if (const size_t end = Word(at + 1, upper_first); end != kFail) return end;
      }
      if (const size_t end = Word(at, upper_first); end != kFail) return end;
    }
    size_t end = at;
    while (end < at + 3 && Is(end, CharClass::kNumber)) ++end;
    if (end > at) return end;
    for (const size_t begin : {IsCode(at, ' ') ? at + 1 : at, at}) {
      end = begin;
      while (end < chars_.size() && !Space(end) && !Letter(end) && !Is(end, CharClass::kNumber))
        ++end;
      if (end == begin) continue;
      while (Newline(end) || IsCode(end, '/')) ++end;
      return end;
    }
    size_t spaces = at;
    while (Space(spaces)) ++spaces;
    for (end = spaces; end > at; --end) {  // \s*[\r\n]+
      if (Newline(end - 1)) return end;
    }
    for (end = spaces; end > at; --end) {  // \s+(?!\S)
      if (end == chars_.size() || Space(end)) return end;
    }
    return spaces;
  }

  std::unordered_map<std::string, int32_t> ranks_;
  std::vector<Char> chars_;
};

}  // namespace chimera
