// The shell's machine a byte at a time; shell_mode.cc says what it holds to.
//
// An item: `at` is a place, what is open within a word there, and the place within a character;
// `a` is the role of the word and what was read of it; `b` are the limits of what is generated.
// Frames of commands (kFrameParen to kFrameCondParen) keep the here-documents that wait for the
// end of the line above them; frames of words (the others) stand above those.
#pragma once

#include <optional>
#include <vector>

#include "grammar/machine.h"
#include "grammar/shell_words.h"
#include "grammar/utf8_steps.h"

namespace chimera::shell {

enum Place : uint32_t {
  // Between words.
  kListStart,  // a command, or the end of the list
  kListNeeds,  // a command
  kListPiped,  // the same after '|': neither '!' nor time
  kFirst,      // after a word that may become a function's name
  kPrefix,     // after assignments and redirections, before a command's name
  kArguments,
  kCompound,    // after a compound command
  kDescriptor,  // digits there, before a redirection; a: how many
  kRedirect,    // the file of a redirection
  kForName,
  kForIn,
  kForInLine,  // the same on a later line
  kForWords,
  kForDo,
  kCaseWord,
  kCaseIn,
  kCaseItem,
  kPattern,
  kPatternEnd,
  kFunctionName,
  kFunctionAfter,  // after function NAME
  kFunctionBody,
  kArray,
  // [[ ]] of what is checked, then of what is generated.
  kSoup,
  kCondTerm,
  kCondBang,
  kCondDash,      // '-'
  kCondFlag,      // -f
  kCondOperand,   // after -f and a blank
  kCondAfter,     // after one word
  kCondEqual,     // '='
  kCondNot,       // '!' of !=
  kCondCompare,   // '-' of -eq
  kCondCompareE,  // -e, -n, -l, -g
  kCondCompareN,
  kCondCompareL,
  kCondCompareG,
  kCondOperator,  // a whole operator
  kCondRight,     // after it and a blank
  kCondDone,      // after a whole test
  kCondAnd,
  kCondOr,
  kCondBracket,   // ']'
  kCondBrackets,  // ']]'
  // Within operators.
  kSemi,
  kSemiNeeds,  // ';' where only ';;' can be
  kSemiSemi,
  kAmp,
  kAmpGreat,
  kPipe,
  kGreat,
  kLess,
  kLessLess,
  kProcess,    // '<' or '>' that must go on with '('
  kParenOpen,  // '(' of a subshell or of '(('
  kNameParen,  // '(' of name()
  kFunctionParen,
  kForParen,
  // Here-documents.
  kHereGap,
  kHereWord,
  kHereStart,  // a: the place after all, and how many bytes of the delimiter were read
  kHereLine,
  kHereDollar,
  kHereParam,
  // Words and what they contain.
  kWord,
  kDouble,
  kParamStart,
  kParamLength,
  kParamName,
  kParamIndex,
  kParamIndexed,
  kParamColon,
  kParamText,
  kArith,
  kSubscript,
  kPlaces,
};

enum Inner : uint32_t {
  kNone,
  kEscape,
  kSingle,
  kAnsi,
  kAnsiEscape,
  kBackquote,
  kBackquoteEscape,
  kDollar,
  kDollarParen,
  kArithClose,
  kAngle,  // '<' or '>' where a process could be substituted
  kComment,
  kHereSingle,
  kHereDouble,
  kHereDoubleEscape,
};

enum Role : uint32_t {
  kRoleStart,  // first word of a command, or a word that closes the list
  kRoleNeeded,
  kRolePiped,
  kRoleArgument,
  kRolePrefix,
  kRoleRedirect,
  kRoleRedirectPrefix,
  kRoleRedirectCompound,
  kRoleClose,  // after a compound command: only a word that closes the list
  kRoleForName,
  kRoleForIn,
  kRoleForWord,
  kRoleForDo,
  kRoleCaseWord,
  kRoleCaseIn,
  kRolePatternFirst,
  kRolePattern,
  kRoleFunctionName,
  kRoleFunctionBody,
  kRoleArray,
  kRoleSoup,
  kRoleCondTerm,
  kRoleCondRight,
};

enum Frame : uint32_t {
  kFrameNone,
  kFrameParen,
  kFrameBrace,
  kFrameIf,
  kFrameThen,
  kFrameElse,
  kFrameWhile,
  kFrameDo,
  kFrameCase,
  kFrameCond,
  kFrameCondParen,
  // a: `a` of the place to go back to, and that place above; b: its `b`
  kFrameComsub,
  kFrameBackquote,
  kFrameDouble,
  kFrameParam,
  kFrameArith,
  kFrameArithCommand,
  kFrameArithFor,
  kFrameArithParen,
  kFrameArray,
  kFrameSubscript,
  kFrameHereByte,  // a: a byte of a delimiter, the last one above
  kFrameHereEnd,   // above those; a: flags, b: how many
};

inline constexpr uint32_t kInnerShift = 7, kUtf8Shift = 11;
inline constexpr uint32_t kPlaceMask = (1 << kInnerShift) - 1;
inline constexpr uint32_t kNodeShift = 5, kRoleMask = (1 << kNodeShift) - 1;
inline constexpr uint32_t kBackShift = 16;                        // of the place in `a` of a frame
inline constexpr uint32_t kStrip = 1 << 5, kHereQuoted = 1 << 6;  // in `a` of here-documents
inline constexpr uint32_t kCountShift = 8;
// Register b.
inline constexpr uint32_t kInBackquote = 1;
inline constexpr uint32_t kOneLine = 2;  // a here-document waits: what opens here closes here

static_assert(kPlaces <= kPlaceMask);

inline uint32_t PlaceOf(const GrammarItem& item) { return item.at & kPlaceMask; }
inline uint32_t InnerOf(const GrammarItem& item) { return item.at >> kInnerShift & 15; }
inline int Utf8Of(const GrammarItem& item) { return static_cast<int>(item.at >> kUtf8Shift); }
inline uint32_t RoleOf(uint32_t a) { return a & kRoleMask; }
inline uint32_t NodeOf(uint32_t a) { return a >> kNodeShift & 255; }
inline uint32_t Reading(uint32_t role, uint32_t node) { return role | node << kNodeShift; }

// The innermost frame of commands, below waiting here-documents.
const GrammarItem& CommandFrame(uint32_t stack, const StackPool& stacks);
// Words that may end the list of a frame, and reserved words that mean something to a role.
uint32_t ClosersOf(uint32_t frame);
uint32_t WordsOf(uint32_t role, uint32_t frame);
// Whether nothing but a reserved word can have the role.
bool OnlyReserved(uint32_t role);
// The role of a word that begins at a place between words.
uint32_t RoleAt(const GrammarItem& item);

using Next = std::optional<GrammarItem>;
inline constexpr Next kDead = std::nullopt;

// One step of one item.
class Stepper {
 public:
  Stepper(bool generate, StackPool* stacks) : generate_(generate), stacks_(*stacks) {}
  Next Step(GrammarItem item, uint8_t byte);

 private:
  // A place, without anything open within a word.
  static GrammarItem To(GrammarItem item, uint32_t place, uint32_t a = 0) {
    item.at = place;
    item.a = a;
    return item;
  }
  static GrammarItem With(GrammarItem item, uint32_t inner) {
    item.at = PlaceOf(item) | inner << kInnerShift;
    return item;
  }
  // shell_lexing.cc: inside words.
  Next Inside(const GrammarItem& item, uint8_t byte);
  Next Escaped(const GrammarItem& item, uint8_t byte);
  Next AfterDollar(const GrammarItem& item, uint8_t byte);
  bool InExpansion(uint32_t stack) const;
  Next AfterDollarParen(const GrammarItem& item, uint8_t byte);
  Next Text(const GrammarItem& item, uint8_t byte) const;
  Next WordByte(GrammarItem item, uint8_t byte);
  Next Opening(GrammarItem item, uint8_t byte);
  Next DoubleByte(const GrammarItem& item, uint8_t byte);
  Next ParamByte(const GrammarItem& item, uint8_t byte);
  Next ParamTextByte(const GrammarItem& item, uint8_t byte);
  Next ArithByte(const GrammarItem& item, uint8_t byte);
  Next ArithEnd(const GrammarItem& item, uint8_t byte);
  Next SubscriptByte(const GrammarItem& item, uint8_t byte);
  // shell_steps.cc: between words.
  Next Gap(const GrammarItem& item, uint8_t byte);
  Next NewLine(const GrammarItem& item);
  Next StartWord(const GrammarItem& item, uint8_t byte);
  Next EndWord(const GrammarItem& item, uint8_t byte);
  uint32_t AfterWord(uint32_t role, uint32_t node) const;
  Next Reserved(const GrammarItem& item, Word word);
  Next Operator(const GrammarItem& item, uint8_t byte);
  Next WithinOperator(const GrammarItem& item, uint8_t byte);
  Next OpenParen(const GrammarItem& item);
  Next CloseParen(const GrammarItem& item);
  Next Process(const GrammarItem& item, uint32_t role);
  // shell_conditions.cc
  Next Soup(const GrammarItem& item, uint8_t byte);
  Next Condition(const GrammarItem& item, uint8_t byte);
  Next ConditionSign(const GrammarItem& item, uint8_t byte);
  Next ConditionAfter(const GrammarItem& item, uint8_t byte);
  // shell_here.cc
  Next HereWord(GrammarItem item, uint8_t byte);
  Next HereBody(GrammarItem item, uint8_t byte);
  Next HereLine(GrammarItem item, uint8_t byte);
  GrammarItem NextHere(const GrammarItem& item) const;

  bool Room(uint32_t stack, int spare = 0) const {
    return stacks_.Depth(stack) < (generate_ ? 200 : kGrammarDepthMax - 96) + spare;
  }
  bool IsMeta(const GrammarItem& item, uint8_t byte) const;
  // Frames of commands; what is pushed or popped is below waiting here-documents.
  uint32_t Frame(const GrammarItem& item) const { return CommandFrame(item.stack, stacks_).at; }
  GrammarItem Open(GrammarItem item, uint32_t frame, uint32_t place);
  GrammarItem Close(GrammarItem item, uint32_t place);
  uint32_t Lift(uint32_t stack, std::vector<GrammarItem>* rows) const;
  uint32_t Lay(uint32_t stack, std::vector<GrammarItem>* rows);
  // Frames of words: enter, and go back to where the item was.
  GrammarItem Enter(const GrammarItem& item, uint32_t frame, uint32_t place);
  GrammarItem Leave(const GrammarItem& item) const;

  const bool generate_;
  StackPool& stacks_;
};

}  // namespace chimera::shell
