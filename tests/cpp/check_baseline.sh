#!/bin/sh
# check_baseline.sh FOLDER: fail if an object outside the avx2 and avx512 kernel targets uses a wide vector register.
# Such code would die of SIGILL on an older CPU before the dispatch could choose a lower level.
set -eu
command -v objdump >/dev/null || { echo "objdump is missing (binutils)"; exit 1; }
checked=0
for object in $(find "$1" -name '*.o' | grep -v -E '_(avx2|avx512)\.dir/'); do
  checked=$((checked + 1))
  if objdump -d "$object" | grep -q -E '%[yz]mm|%k[1-7]'; then
    echo "wide vector registers in $object"
    exit 1
  fi
done
for level in avx2 avx512; do
  for object in $(find "$1" -path "*_$level.dir/*" -name '*.o'); do
    # Weak symbols (W, V) are merged across levels by the linker.
    if nm -C --defined-only "$object" | grep -E ' [WVu] '; then
      echo "symbols with merged linkage in $object"
      exit 1
    fi
  done
done
[ "$checked" -gt 0 ]
