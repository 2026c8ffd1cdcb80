// Errors as values. `Result<T>` holds a T or an `Error`; `TRY(var, expr)` unwraps or returns early.
// An Error carries a PJRT status code, one sentence, and the context added while it travelled up,
// innermost first ("operand 1" → "stablehlo.add ..." → "file.py:12"). No exception crosses a
// border of ours; MLX exceptions are caught in exec/ and become an Error.
// Thread-compatible: values, no shared state.
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace jaxmps {

// The numbers are those of PJRT_Error_Code.
enum class Code : int {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
  unauthenticated = 16,
};

struct Error {
  Code code = Code::internal;
  std::string text;

  Error(Code c, std::string t);
  ~Error();
  Error(const Error&);
  Error(Error&&) noexcept;
  Error& operator=(const Error&);
  Error& operator=(Error&&) noexcept;

  // Prefixes the message with where it happened: "where: text".
  Error&& in(std::string_view where) &&;
};

template <typename... Parts>
std::string str(const Parts&... parts);

// An Error on its way through code that knows exceptions only; exec/ catches it.
struct Failure {
  Error error;
};

Error invalid(std::string text);
Error unimplemented(std::string text);
Error internal(std::string text);

template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit: a function returns a value or an Error as it is.
  // NOLINTBEGIN(google-explicit-constructor)
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // Of the two what ok() tells; the other is no object.
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() & { return *std::get_if<1>(&state_); }
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

#define JAXMPS_CONCAT_(a, b) a##b
#define JAXMPS_CONCAT(a, b) JAXMPS_CONCAT_(a, b)

// TRY(auto x, f()): declares x from a Result or returns its error. CHECK_OK(f()): for Status.
#define TRY(decl, expr) TRY_(JAXMPS_CONCAT(try_result_, __LINE__), decl, expr)
#define TRY_(tmp, decl, expr)                   \
  auto tmp = (expr);                            \
  if (!tmp.ok()) return std::move(tmp).error(); \
  decl = std::move(tmp).value()
#define CHECK_OK(expr)                                                                             \
  do {                                                                                             \
    if (auto check_status_ = (expr); !check_status_.ok()) return std::move(check_status_).error(); \
  } while (false)

namespace detail {
void append(std::string& out, std::string_view part);
void append(std::string& out, bool part);
void append(std::string& out, char part);
void append(std::string& out, int64_t part);
void append(std::string& out, uint64_t part);
void append(std::string& out, double part);
inline void append(std::string& out, const char* part) { append(out, std::string_view(part)); }
inline void append(std::string& out, const std::string& part) {
  append(out, std::string_view(part));
}
template <typename T>
requires(std::is_integral_v<T>) void append(std::string& out, T part) {
  if constexpr (std::is_signed_v<T>) {
    append(out, static_cast<int64_t>(part));
  } else {
    append(out, static_cast<uint64_t>(part));
  }
}
template <typename T>
void append(std::string& out, const std::vector<T>& parts) {
  out += '[';
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i) out += ", ";
    append(out, parts[i]);
  }
  out += ']';
}
}  // namespace detail

// Joins strings, numbers and vectors into one string.
template <typename... Parts>
std::string str(const Parts&... parts) {
  std::string out;
  (detail::append(out, parts), ...);
  return out;
}

}  // namespace jaxmps
