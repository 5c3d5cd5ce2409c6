// What Linux and macOS call differently of files: space on the disk, and when bytes are on it. Internal to the core.
#pragma once

#include <cstddef>
#include <cstdint>

namespace metarl {

// All of these return 0 or an error number.

// Makes the file at least `bytes` long, with a place on the disk for each: a write to a page that has none on a full
// disk would be a SIGBUS later. macOS cannot fill holes of a file that is long enough already.
int reserve_space(int file, std::uint64_t bytes);
// The same without writing, where the file system can: an error only says that the disk is too full for it, or the file
// too long. The file may stay as short as it is.
int try_reserve_space(int file, std::uint64_t bytes);

// What was written is on the disk, not in its cache alone. sync_data: whatever reading it needs, not its times.
int sync_file(int file);
int sync_data(int file);

// The disk starts to write [begin, begin + bytes); nobody waits. Advice only.
void start_writing(int file, std::uint64_t begin, std::uint64_t bytes);
// Waits until that part of a mapping of the file from its start, `data`, has left memory; begin: a multiple of the
// page.
int write_out(int file, std::byte* data, std::size_t begin, std::size_t bytes);

}  // namespace metarl
