// Structured lines on standard error through spdlog; one line an event. Thread-safe.
// Prompts and completions never enter a log at the default level.
#pragma once

#include <string_view>

namespace chimera {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines below this level are dropped; the default is kInfo.
void SetLogLevel(LogLevel level);

void Log(LogLevel level, std::string_view message);
inline void LogInfo(std::string_view message) { Log(LogLevel::kInfo, message); }
inline void LogWarning(std::string_view message) { Log(LogLevel::kWarning, message); }
inline void LogError(std::string_view message) { Log(LogLevel::kError, message); }

}  // namespace chimera
