# Lays out a root directory whose only program is busybox, under all of its names.
set -eu
root=$1
mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/var" "$root/dev" "$root/proc" "$root/sys"
mkdir -m 1777 "$root/tmp" "$root/var/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
for name in $("$root/bin/busybox" --list); do
  [ "$name" = busybox ] || ln "$root/bin/busybox" "$root/bin/$name"
done
mkdir -p "$root/usr" && ln -s ../bin "$root/usr/bin"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' > "$root/etc/group"
