// Runs a libFuzzer target without libFuzzer and without its instrumentation, which costs most of
// the time: fuzz [-max_total_time=SECONDS] [-runs=N] [-seed=N] [-artifact_prefix=PREFIX] PATH...
// Replays every file, then every truncation of the small ones, then random mutations. An input that
// ends the process is written to PREFIX<number of the run>.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// Of targets that have a mutator of their own.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t room, unsigned seed)
    __attribute__((weak));

namespace {

constexpr size_t kSmall = 16 * 1024;

std::string load(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string prefix = "bad-";
const std::vector<uint8_t>* current = nullptr;
uint64_t runs = 0;

extern "C" void keep_and_end(int signal) {
  std::signal(signal, SIG_DFL);
  if (current) {
    char name[512];
    std::snprintf(name, sizeof name, "%s%llu", prefix.c_str(),
                  static_cast<unsigned long long>(runs));
    const int file = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    const ssize_t written = write(file, current->data(), current->size());
    std::fprintf(stderr, "%s: %zd bytes\n", name, written);
  }
  std::raise(signal);
}

// On the heap and of the exact size, so that sanitizers see every read past the end.
void run(const std::string& bytes) {
  std::vector<uint8_t> exact(bytes.begin(), bytes.end());
  current = &exact;
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  current = nullptr;
  if (++runs % 100000 == 0) {
    std::printf("%llu runs\n", static_cast<unsigned long long>(runs));
    std::fflush(stdout);
  }
}

std::string mutate(std::string bytes, const std::vector<std::string>& seeds, std::mt19937_64& rng) {
  if (LLVMFuzzerCustomMutator && rng() % 32) {
    const auto seed = static_cast<unsigned>(rng());
    bytes.resize(LLVMFuzzerCustomMutator(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size(),
                                         bytes.size(), seed));
    return bytes;
  }
  static constexpr uint8_t kBytes[] = {0x00, 0x01, 0x02, 0x03, 0x7f, 0x80, 0xfe, 0xff};
  for (uint64_t edits = 1 + rng() % 4; edits > 0; --edits) {
    if (bytes.empty()) return bytes;
    const size_t at = rng() % bytes.size();
    switch (rng() % 6) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng() % 8));
        break;
      case 1:
        bytes[at] = static_cast<char>(kBytes[rng() % sizeof kBytes]);
        break;
      case 2:
        bytes[at] = static_cast<char>(rng());
        break;
      case 3:
        bytes.erase(at, 1 + rng() % 8);
        break;
      case 4:
        bytes.insert(at, 1 + rng() % 8, static_cast<char>(rng()));
        break;
      default: {
        const std::string& other = seeds[rng() % seeds.size()];
        if (other.empty()) break;
        const size_t from = rng() % other.size();
        bytes.replace(at, rng() % 32, other, from, rng() % 32);
      }
    }
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  long seconds = 0;
  uint64_t seed = 1, most = UINT64_MAX;
  std::vector<std::string> seeds;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "-max_total_time=", 16) == 0) {
      seconds = std::atol(argv[i] + 16);
    } else if (std::strncmp(argv[i], "-seed=", 6) == 0) {
      seed = std::strtoull(argv[i] + 6, nullptr, 10);
    } else if (std::strncmp(argv[i], "-runs=", 6) == 0) {
      most = std::strtoull(argv[i] + 6, nullptr, 10);
    } else if (std::strncmp(argv[i], "-artifact_prefix=", 17) == 0) {
      prefix = argv[i] + 17;
    } else if (argv[i][0] == '-') {
      continue;  // other options of libFuzzer mean nothing here
    } else if (std::filesystem::is_directory(argv[i])) {
      for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
        if (entry.is_regular_file()) seeds.push_back(load(entry.path()));
      }
    } else {
      seeds.push_back(load(argv[i]));
    }
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
    std::signal(signal, keep_and_end);
  }
  for (const std::string& bytes : seeds) {
    run(bytes);
    if (bytes.size() > kSmall) continue;
    for (size_t size = 0; size < bytes.size(); ++size) run(bytes.substr(0, size));
  }
  std::mt19937_64 rng(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::string bytes;
  while (!seeds.empty() && runs < most && std::chrono::steady_clock::now() < end) {
    // A mutator that keeps inputs valid goes on from the last one, for some steps.
    if (!LLVMFuzzerCustomMutator || bytes.empty() || rng() % 8 == 0) {
      bytes = seeds[rng() % seeds.size()];
    }
    bytes = mutate(std::move(bytes), seeds, rng);
    run(bytes);
  }
  std::printf("%zu files, %llu runs\n", seeds.size(), static_cast<unsigned long long>(runs));
  return 0;
}
