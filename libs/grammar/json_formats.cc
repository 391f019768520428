#include "grammar/json_formats.h"

#include <memory>
#include <mutex>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "grammar/regex.h"

namespace chimera {
namespace {

std::string AnyOf(std::initializer_list<std::string> parts) {
  std::string all;
  for (const std::string& part : parts) absl::StrAppend(&all, all.empty() ? "(?:" : "|", part);
  return all + ")";
}

std::string Date() {
  const std::string year = "[0-9]{4}";
  const std::string fours = "(?:0[48]|[2468][048]|[13579][26])";
  const std::string leap =
      AnyOf({"[0-9]{2}" + fours, AnyOf({"00", "0[48]", "[2468][048]", "[13579][26]"}) + "00"});
  return AnyOf({year + "-(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])",
                year + "-(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)",
                year + "-02-(?:0[1-9]|1[0-9]|2[0-8])", leap + "-02-29"});
}

// A leap second is the last of a day in UTC.
std::string Time() {
  const std::string hour = "(?:[01][0-9]|2[0-3])", part = "(?:\\.[0-9]+)?";
  return AnyOf({hour + ":[0-5][0-9]:[0-5][0-9]" + part + "(?:[Zz]|[+-]" + hour + ":[0-5][0-9])",
                "23:59:60" + part + "(?:[Zz]|[+-]00:00)"});
}

std::string Duration() {
  const std::string seconds = "[0-9]+S", minutes = "[0-9]+M(?:" + seconds + ")?",
                    hours = "[0-9]+H(?:" + minutes + ")?";
  const std::string days = "[0-9]+D", months = "[0-9]+M(?:" + days + ")?",
                    years = "[0-9]+Y(?:" + months + ")?";
  const std::string time = "T" + AnyOf({hours, minutes, seconds});
  return "P" + AnyOf({"[0-9]+W", AnyOf({years, months, days}) + "(?:" + time + ")?", time});
}

std::string Ipv4() {
  const std::string byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  return byte + "(?:\\." + byte + "){3}";
}

std::string Ipv6() {
  const std::string h = "[0-9A-Fa-f]{1,4}", ls = AnyOf({h + ":" + h, Ipv4()});
  std::string all = "(?:(?:" + h + ":){6}" + ls;
  // n groups before the "::" at most, the rest of the eight behind it.
  for (int before = 0; before <= 7; ++before) {
    const std::string head =
        before == 0 ? "" : absl::StrCat("(?:(?:", h, ":){0,", before - 1, "}", h, ")?");
    const int behind = 5 - before;
    const std::string tail = behind >= 0    ? absl::StrCat("(?:", h, ":){", behind, "}", ls)
                             : behind == -1 ? h
                                            : "";
    absl::StrAppend(&all, "|", head, "::", tail);
  }
  return all + ")";
}

std::string Hostname() {
  const std::string label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  return label + "(?:\\." + label + ")*";
}

std::string Email() {
  const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
  const std::string quoted = "\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\"";
  return AnyOf({atom + "(?:\\." + atom + ")*", quoted}) + "@" +
         AnyOf({Hostname(), "\\[" + AnyOf({Ipv4(), "IPv6:" + Ipv6()}) + "\\]"});
}

std::string Uuid() {
  const std::string h = "[0-9A-Fa-f]";
  return h + "{8}(?:-" + h + "{4}){3}-" + h + "{12}";
}

std::string Uri() {
  const std::string plain = "A-Za-z0-9._~!$&'()*+,;=-", percent = "%[0-9A-Fa-f]{2}";
  const auto characters = [&](const std::string& more) {
    return "(?:[" + more + plain + "]|" + percent + ")";
  };
  const std::string c = characters(":@"), tail = "(?:/" + c + "*)*";
  const std::string host =
      AnyOf({"\\[" + AnyOf({Ipv6(), "[vV][0-9A-Fa-f]+\\.[:" + plain + "]+"}) + "\\]",
             characters("") + "*"});
  const std::string authority = "(?:" + characters(":") + "*@)?" + host + "(?::[0-9]*)?";
  const std::string hier =
      AnyOf({"//" + authority + tail, "/(?:" + c + "+" + tail + ")?", c + "+" + tail, ""});
  const std::string rest = characters(":@/?");
  return "[A-Za-z][A-Za-z0-9+.-]*:" + hier + "(?:\\?" + rest + "*)?(?:#" + rest + "*)?";
}

ByteDfa Compiled(const std::string& pattern) {
  auto dfa = CompileRegex(pattern, {});
  CHIMERA_CHECK(dfa.ok());
  return *std::move(dfa);
}

// Not every calendar has a year 0.
ByteDfa WithoutYear0(const ByteDfa& dates) {
  auto left = ByteDfa::Minus(dates, Compiled("(?s)0000.*"));
  CHIMERA_CHECK(left.ok());
  return *std::move(left);
}

struct Format {
  const char* name;
  ByteDfa (*build)();
  std::once_flag once;
  std::unique_ptr<const ByteDfa> dfa;
};

}  // namespace

const ByteDfa* JsonFormat(std::string_view name) {
  static auto* formats =
      new Format[10]{{"date-time", [] { return WithoutYear0(Compiled(Date() + "[Tt]" + Time())); }},
                     {"date", [] { return WithoutYear0(Compiled(Date())); }},
                     {"time", [] { return Compiled(Time()); }},
                     {"duration", [] { return Compiled(Duration()); }},
                     {"email", [] { return Compiled(Email()); }},
                     {"hostname", [] { return Compiled(Hostname()); }},
                     {"ipv4", [] { return Compiled(Ipv4()); }},
                     {"ipv6", [] { return Compiled(Ipv6()); }},
                     {"uuid", [] { return Compiled(Uuid()); }},
                     {"uri", [] { return Compiled(Uri()); }}};
  for (Format* format = formats; format != formats + 10; ++format) {
    if (name != format->name) continue;
    std::call_once(format->once,
                   [&] { format->dfa = std::make_unique<const ByteDfa>(format->build()); });
    return format->dfa.get();
  }
  return nullptr;
}

}  // namespace chimera
