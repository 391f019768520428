// Debts of prose (math-inference-training D.7). English words decide about pronouns, tense and
// lists (debt_words.h); marks decide about the rest, in any language that uses them. Nothing is
// seen within a fence but its end.
#include <array>
#include <vector>

#include "decode/debt_scanner.h"
#include "decode/debt_words.h"

namespace chimera {
namespace {

constexpr int kFenceMarks = 3;

bool IsLetter(uint8_t byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte >= 0x80;
}
bool IsDigit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

// The present word, lower case. A long one is cut, and then in no table.
class Word {
 public:
  void Add(uint8_t byte) {
    if (size_ == 0) capital_ = byte >= 'A' && byte <= 'Z';
    const bool upper = byte >= 'A' && byte <= 'Z';
    if (size_ < bytes_.size()) bytes_[size_++] = static_cast<char>(upper ? byte + 32 : byte);
  }
  void Clear() { size_ = 0; }
  bool empty() const { return size_ == 0; }
  bool capital() const { return capital_; }
  std::string_view text() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, 24> bytes_ = {};
  size_t size_ = 0;
  bool capital_ = false;
};

class ProseScanner final : public DebtScanner {
 public:
  void Push(uint8_t byte, DebtSink* sink) override {
    sink_ = sink;
    if (!Fence(byte)) {
      Marker(byte);
      Prose(byte);
    }
    before_ = previous_;
    previous_ = byte;
    if (byte == '\n') {
      column_ = 0;
      marks_ = 0;
    } else {
      ++column_;
    }
  }

  bool Dangling() const override {
    return sentence_open_ && IsDangling(word_.empty() ? last_.text() : word_.text());
  }

 private:
  enum class Line : uint8_t { kBegun, kBullet, kNumber, kItem, kHeading, kText };

  // A run of marks at the start of a line, behind at most three spaces. True while in a fence.
  bool Fence(uint8_t byte) {
    const bool at_start = marks_ == 0 && column_ < 4 && line_ == Line::kBegun;
    if (fence_ == 0) {
      if ((byte == '`' || byte == '~') && (at_start || (marks_ > 0 && byte == mark_))) {
        mark_ = byte;
        if (++marks_ < kFenceMarks) return false;
        fence_ = byte;
        fence_marks_ = marks_;
        fence_head_ = true;
        sink_->Open(DebtType::kCloseFence, byte, static_cast<uint32_t>(marks_));
        return true;
      }
      if (byte != ' ') marks_ = -1;  // no fence on this line
      return false;
    }
    if (fence_head_) {  // the rest of the first line
      if (byte == fence_ && previous_ == fence_) ++fence_marks_;
      fence_head_ = byte != '\n';
      closing_ = 0;
      return true;
    }
    return InFence(byte);
  }

  // closing_: marks read at the start of the line; -1: another line. The debt is discharged with
  // the last mark that is needed, and taken back when the line goes on with something else.
  bool InFence(uint8_t byte) {
    if (byte == '\n') {
      if (closing_ >= fence_marks_) {
        fence_ = 0;
        line_ = Line::kBegun;
      }
      closing_ = 0;
    } else if (byte == fence_ && closing_ >= 0) {
      if (++closing_ == fence_marks_) sink_->Discharge(DebtType::kCloseFence, fence_);
    } else if (closing_ >= fence_marks_ && byte != ' ' && byte != '\r') {
      sink_->Open(DebtType::kCloseFence, fence_, static_cast<uint32_t>(fence_marks_));
      closing_ = -1;
    } else if (closing_ < fence_marks_ && (byte != ' ' || closing_ != 0 || column_ > 2)) {
      closing_ = -1;
    }
    return true;
  }

  // What the line begins with.
  void Marker(uint8_t byte) {
    if (byte == '\n') return;
    const bool space = byte == ' ' || byte == '\t';
    if (line_ == Line::kBegun && !space) {
      if (byte == '-' || byte == '*' || byte == '+') {
        line_ = Line::kBullet;
      } else if (IsDigit(byte)) {
        line_ = Line::kNumber;
        number_ = byte - '0';
      } else {
        Decide(byte == '#' ? Line::kHeading : Line::kText);
      }
    } else if (line_ == Line::kBullet) {
      Decide(space ? Line::kItem : Line::kText);
    } else if (line_ == Line::kNumber && IsDigit(byte)) {
      number_ = number_ < 1000 ? 10 * number_ + byte - '0' : number_;
    } else if (line_ == Line::kNumber) {
      Decide(byte == '.' || byte == ')' ? Line::kItem : Line::kText);
    }
  }

  void Decide(Line line) {
    const bool numbered = line_ == Line::kNumber;
    line_ = line;
    if (line == Line::kItem) {
      ++items_;
      if (!list_open_ && numbered && number_ == 1 && colon_line_) OpenList(0, 1);
      if (list_open_ && list_items_ > 0 && items_ >= list_items_) CloseList();
    } else if (list_open_ && list_items_ == 0 && blank_before_ && items_ >= 2) {
      CloseList();
    }
  }

  void OpenList(int announced, int items) {
    list_open_ = true;
    list_items_ = announced;
    items_ = items;
    sink_->Open(DebtType::kFinishList, 0, static_cast<uint32_t>(announced));
  }

  void CloseList() {
    list_open_ = false;
    sink_->Discharge(DebtType::kFinishList, 0);
  }

  void Prose(uint8_t byte) {
    if (Curly(byte)) return;
    if (IsLetter(byte) || IsDigit(byte) || (byte == '\'' && !word_.empty())) {
      if (word_.empty() && !sentence_open_) {
        sentence_open_ = true;
        sink_->Open(DebtType::kCompleteSentence, 0, 0);
      }
      word_.Add(byte);
      return;
    }
    // "J. Smith", "e.g."; but "and I."
    const std::string_view word = word_.text();
    const bool initial = word.size() == 1 && !(word == "i" && word_.capital());
    EndWord();
    if (byte == '\n') return EndLine();
    if (byte != ' ' && byte != '\t' && byte != '\r') last_mark_ = byte;
    if (byte == '!' || byte == '?') EndSentence();
    if (byte == '.' && !initial && !IsAbbreviation(last_.text())) EndSentence();
    if (byte == '"') StraightQuote();
    Bracket(byte);
  }

  // The three bytes of a curly double quote; true within them.
  bool Curly(uint8_t byte) {
    const bool third = before_ == 0xE2 && previous_ == 0x80;
    if (third && byte == 0x9C && quote_ == 0) OpenQuote('c');
    if (third && byte == 0x9D && quote_ == 'c') CloseQuote();
    if (byte == 0xE2) EndWord();
    // Punctuation of that block: dashes, quotes, the ellipsis.
    return byte == 0xE2 || (previous_ == 0xE2 && byte == 0x80) || third;
  }

  void StraightQuote() {
    const bool starts = previous_ == ' ' || previous_ == '\n' || previous_ == '(';
    if (quote_ == '"') {
      CloseQuote();
    } else if (quote_ == 0 && starts) {
      OpenQuote('"');
    }
  }

  void OpenQuote(uint8_t quote) {
    quote_ = quote;
    sink_->Open(DebtType::kCloseString, quote, 0);
  }

  void CloseQuote() {
    sink_->Discharge(DebtType::kCloseString, quote_);
    quote_ = 0;
  }

  void Bracket(uint8_t byte) {
    if (byte == '(' || byte == '[' || byte == '{') {
      if (closers_.size() == size_t{kDebtDepthMax}) return;
      closers_.push_back(byte == '(' ? ')' : byte == '[' ? ']' : '}');
      sink_->Open(DebtType::kCloseBracket, closers_.back(), 0);
    } else if (!closers_.empty() && byte == closers_.back()) {
      sink_->Discharge(DebtType::kCloseBracket, byte);
      closers_.pop_back();
    }
  }

  void EndWord() {
    if (word_.empty()) return;
    const std::string_view word = word_.text();
    last_mark_ = 0;
    if (const int count = CountOf(word); count > 0) line_count_ = count;
    const Referent pronoun = PronounOf(word);
    const bool determined = IsDeterminer(last_.text());
    if (pronoun != Referent::kNone) {
      Pronoun(pronoun);
    } else if (!IsFunctionWord(word) && word_.capital()) {
      for (const Referent r : {Referent::kPerson, Referent::kThing, Referent::kMany}) Mention(r);
    } else if (!IsFunctionWord(word) && determined) {
      if (IsPerson(word)) Mention(Referent::kPerson);
      Mention(Referent::kThing);
      Mention(Referent::kMany);
    }
    if (quote_ == 0) Verb(TenseOf(word));
    last_ = word_;
    word_.Clear();
  }

  // Nothing it could stand for was named in this sentence or the one before.
  void Pronoun(Referent kind) {
    const auto k = static_cast<size_t>(kind);
    if (unresolved_[k] || mentioned_[k] + 1 >= sentences_) return;
    unresolved_[k] = true;
    sink_->Open(DebtType::kResolvePronoun, static_cast<uint8_t>(kind), 0);
  }

  void Mention(Referent kind) {
    const auto k = static_cast<size_t>(kind);
    mentioned_[k] = sentences_;
    if (!unresolved_[k]) return;
    unresolved_[k] = false;
    sink_->Discharge(DebtType::kResolvePronoun, static_cast<uint8_t>(kind));
  }

  void Verb(Tense tense) {
    if (tense == Tense::kNone) return;
    if (tense_ == Tense::kNone) {
      tense_ = tense;
      sink_->Open(DebtType::kMaintainTense, static_cast<uint8_t>(tense), 0);
    } else if (tense != tense_) {
      sink_->Violate(DebtType::kMaintainTense);
    }
  }

  void EndSentence() {
    if (!sentence_open_) return;
    sentence_open_ = false;
    ++sentences_;
    last_.Clear();
    sink_->Discharge(DebtType::kCompleteSentence, 0);
  }

  void EndLine() {
    const bool blank = line_ == Line::kBegun;
    if (line_ == Line::kItem || line_ == Line::kHeading) EndSentence();
    if (blank) {
      EndParagraph();
    } else {
      colon_line_ = last_mark_ == ':';
      if (colon_line_ && line_count_ > 0 && !list_open_) OpenList(line_count_, 0);
      if (!list_open_) items_ = 0;
    }
    blank_before_ = blank;
    line_count_ = 0;
    line_ = Line::kBegun;
  }

  void EndParagraph() {
    if (tense_ != Tense::kNone) {
      sink_->Discharge(DebtType::kMaintainTense, static_cast<uint8_t>(tense_));
      tense_ = Tense::kNone;
    }
    if (quote_ != 0) {
      sink_->Violate(DebtType::kCloseString);
      CloseQuote();
    }
  }

  DebtSink* sink_ = nullptr;  // of the present byte
  uint8_t previous_ = '\n', before_ = 0;
  int column_ = 0;
  Line line_ = Line::kBegun;
  // Fences.
  uint8_t mark_ = 0;
  int marks_ = 0;
  uint8_t fence_ = 0;
  int fence_marks_ = 0;
  bool fence_head_ = false;
  int closing_ = 0;
  // Words and sentences.
  Word word_, last_;
  bool sentence_open_ = false;
  int64_t sentences_ = 0;
  std::array<int64_t, 4> mentioned_ = {-8, -8, -8, -8};  // sentence, by Referent
  std::array<bool, 4> unresolved_ = {};
  Tense tense_ = Tense::kNone;
  uint8_t quote_ = 0;
  std::vector<uint8_t> closers_;
  // Lists.
  int number_ = 0;
  int line_count_ = 0;
  uint8_t last_mark_ = 0;  // of the line, when no word follows it
  bool colon_line_ = false, blank_before_ = false;
  bool list_open_ = false;
  int list_items_ = 0, items_ = 0;
};

}  // namespace

std::unique_ptr<DebtScanner> MakeProseScanner() { return std::make_unique<ProseScanner>(); }

}  // namespace chimera
