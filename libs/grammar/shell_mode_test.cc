#include "grammar/grammar_testing.h"
#include "grammar/mode_judges_testing.h"
#include "grammar/modes.h"
#include "grammar/outside_check_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

const std::string kChecker = "bash " CHIMERA_SOURCE_DIR "/libs/grammar/shell_check.sh";

int64_t Generated(std::string_view text) {
  StateTable table(MakeShellMachine(GrammarUse::kGenerate));
  return FirstFault(&table, text);
}

int64_t Checked(std::string_view text) {
  StateTable table(MakeShellMachine(GrammarUse::kCheck));
  return FirstFault(&table, text);
}

std::vector<std::string_view> Pieces() {
  return {"if ",      "then ", "elif ",   "else ",  "fi",      "fi;",    "for x",     " in a b",
          "do ",      "done",  "while ",  "until ", "select ", "case x", " in\n",     "a)",
          "b|c) ",    ";;",    "esac",    "{ ",     "}",       "! ",     "[[ ",       " ]]",
          "-f ",      " == ",  " -lt ",   " && ",   " || ",    "((",     "))",        "$((",
          "$(",       ")",     "(",       "${",     "x",       "}",      ":-",        "$x",
          "\"",       "'",     "$'",      "`",      "\\\n",    "<<EOF",  "<<-E",      "<<'E_T'",
          "\nEOF\n",  "\nE\n", "\nE_T\n", "> ",     "2>&1",    "< ",     "<<< ",      "<(",
          "f() ",     "a=",    "a=(",     "[x]",    "# c",     "\n",     "\n",        "; ",
          "; ",       " ",     " ",       " & ",    " | ",     "echo ",  "function ", "\t",
          "\xC3\xA9", "time "};
}

TEST(ShellMode, TakesWhatShellsTake) {
  for (const std::string_view text : {
           "",
           "#!/bin/sh\nset -eu\n",
           "a=1 b=\"x y\" cmd 'q' \\' $x ${y:-z} $(ls -l) `pwd` $((1 + (2)))\n",
           "if a; then b; elif c\nthen d; else e; fi\n",
           "for x in a b; do echo \"$x\"; done > out 2>&1\n",
           "for x; do\n  echo\ndone",
           "while read -r x; do y; done < f | sort\nuntil z; do (a; b) & done",
           "case $x in a|b) c;; (d) e\n;; *) esac",
           "f() {\n  echo \"${1}\"\n}\nf2 () (a)\n",
           "{ a; b; }\n! c || d && e\n",
           "cat <<EOF | tr a b && x\n$y ${z}\n EOF\nEOF\necho\n",
           "cat <<'A' <<-\"B\"\n$(\nA\n\tx\n\tB\n",
           "x=$(cat <<EOF\n)\nEOF\n)\n",
           "cat <<E | while read x; do\na\nE\n  b\ndone\n",
           "[[ -f $x && ! \"a b\" == c* || ( $z -lt 3 ) ]]\n",
           "a=(b 'c'\nd) # e\necho ${a[@]} ${#a}\n",
           "(( x + 1 )) && echo $'a\\'b' <(ls)\n",
           "echo if then fi done esac in { }\n",
           "echo \"$(case x in a) echo \")\";; esac)\"\n",
           "echo a#b # c ' \"\n",
           "echo \\\n  a\n",
       }) {
    EXPECT_EQ(Generated(text), -1) << text;
    EXPECT_EQ(Checked(text), -1) << text;
  }
}

TEST(ShellMode, TakesMoreWhereItOnlyChecks) {
  for (const std::string_view text : {
           "function f { a; }\nfunction g() (b)\n",
           "if (a) then b; fi\nif true; then { c; } fi\n",
           "for ((i = 0; i < 3; i++)); do a; done\n",
           "x=`echo \\`a\\` \"b`; y=\"`echo \"a\"`\"\n",
           "[[ $x =~ ^(a|b c)$ ]]\n[[ a -nt b ]]\n",
           "local x=(a b) y[1 + 2]=c\n",
           "echo ${x//\"}\"/'}'} ${y:-$(a)} \"${z:-\"}\"}\"\n",
           "case a in b) c;& d) e;;& esac\n",
           "$((a); (b))\n((a); b)\n",
           "a |& b &> c &>> d > >(e)\n",
           "cat <<EOF\na\\\nEOF\nEOF",
           "cat <<\\EOF\n`\nEOF",
           "echo $(\n) $() \r\n",
       }) {
    EXPECT_EQ(Checked(text), -1) << text;
  }
}

TEST(ShellMode, FindsTheFault) {
  const auto both = [](std::string_view text, int64_t fault) {
    EXPECT_EQ(Generated(text), fault) << text;
    EXPECT_EQ(Checked(text), fault) << text;
  };
  both("echo 'a", 7);
  both("echo \"a", 7);
  both("echo $(a", 8);
  both("echo ${a", 8);
  both("echo )", 5);
  both("if a; then b; done", 18);
  both("if a; then b; done\n", 18);
  both("fi\n", 2);
  both("{ a }", 5);
  both("for x in a; b", 12);
  both("while a; done;", 13);
  both("case x in a) b", 14);
  both("case x in a b) c;; esac", 12);
  both("cat <<E\nx\n", 10);
  both("(a; b", 5);
  both("a; ; b", 3);
  both("a && ;", 5);
  both("( )", 2);
  both("if ; then", 3);
  both("[[ -f x", 7);
  both("a=(b", 4);
  both("echo a(b)", 6);
  both("(a) 1234567890< b", 13);
  both("(a) 123456789< b", -1);
  both("(a) 1234567890< b", 13);
  both("(a) 123456789< b", -1);
  both("echo $((1)", 10);
  both("f() a", 4);
  both("echo '\xC3\x28'", 7);
}

TEST(ShellMode, ClosesWhatIsOpen) {
  StateTable table(MakeShellMachine(GrammarUse::kGenerate));
  const auto closing = [&](std::string_view text) {
    return table.ClosingText(table.Run(table.start(), text));
  };
  EXPECT_EQ(closing("if a; then b"), "\nfi");
  EXPECT_EQ(closing("if a; then b; "), "fi");
  EXPECT_EQ(closing("echo \"$(a '"), "')\"");
  EXPECT_EQ(closing("while x; do cat <<END"), "\nEND\ndone");
  EXPECT_EQ(closing("{ (a"), ")\n}");
}

TEST(ShellMode, RandomTextsAreReadByBash) {
  if (!HasProgram("bash")) GTEST_SKIP() << "bash is not installed";
  std::vector<std::string> texts;
  StateTable table(MakeShellMachine(GrammarUse::kGenerate));
  for (uint64_t seed = 0; seed < 400; ++seed) {
    texts.push_back(RandomText(&table, seed, 10 + static_cast<int>(seed % 200)));
    for (int i = 0; i < 3; ++i)
      texts.push_back(RandomPieces(&table, Pieces(), 3 * seed + i, 240, 8));
  }
  const std::vector<std::string> verdicts = JudgeGenerated(GrammarMode::kShell, texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(verdicts[i], "ok") << texts[i];
  }

  StateTable check(MakeShellMachine(GrammarUse::kCheck));
  std::vector<std::string> accepted;
  for (uint64_t seed = 0; seed < 4 * texts.size(); ++seed) {
    std::string text = Mutated(texts[seed / 4], "()[]{}'\"\\\n; $`#a<>&|=!", seed);
    if (FirstFault(&check, text) == -1) accepted.push_back(std::move(text));
  }
  const std::vector<std::string> again = CheckBatch(kChecker, accepted);
  int soft = 0;
  for (size_t i = 0; i < again.size(); ++i) {
    // Only brackets and quotes are checked in [[ ]] and in what looks like arithmetic and is a
    // subshell in $( ) or ( ); arrays may be assigned in arguments of any command.
    const std::string& text = again[i];
    const bool order = text.find("condition") != std::string::npos ||
                       text.find("expected `)'") != std::string::npos ||
                       text.find("unexpected token `('") != std::string::npos ||
                       accepted[i].find("((") != std::string::npos;
    EXPECT_TRUE(order || text == "ok") << text << '\n' << accepted[i];
    soft += text != "ok" ? 1 : 0;
  }
  RecordProperty("accepted", static_cast<int>(accepted.size()));
  RecordProperty("complaints", soft);
}

TEST(ShellMode, CloseBytesHoldInWhatIsChecked) {
  StateTable check(MakeShellMachine(GrammarUse::kCheck));
  for (uint64_t seed = 0; seed < 300; ++seed) {
    RandomText(&check, seed, 150);
    RandomPieces(&check, Pieces(), seed, 240, 8);
  }
}

// GRAMMAR_CORPUS_FILES=0 in the environment reads all files.
TEST(ShellMode, TakesTheScriptsOfTheMachine) {
  if (!HasProgram("bash")) GTEST_SKIP() << "bash is not installed";
  StateTable check(MakeShellMachine(GrammarUse::kCheck));
  int files = 0;
  for (const std::string& path : OutputLines(kChecker + " corpus ${GRAMMAR_CORPUS_FILES:-100}")) {
    EXPECT_EQ(FirstFault(&check, FileText(path)), -1) << path;
    ++files;
  }
  RecordProperty("files", files);
}

}  // namespace
}  // namespace chimera
