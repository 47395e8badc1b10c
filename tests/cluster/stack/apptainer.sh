#!/usr/bin/env bash
# Install Apptainer on Debian 12, which has no package for it. The package of Debian unstable gets a separate C library.
source "$(dirname "$0")/settings.sh"

# As on a cluster, ordinary users mount images through FUSE.
[[ -c /dev/fuse ]] || fail 'Apptainer needs /dev/fuse'
chmod 666 /dev/fuse
# Building an image as root of a user namespace needs a range of user ids.
for file in /etc/subuid /etc/subgid; do
    grep -qs '^root:' $file || echo 'root:1000000:65536' >>$file
done
if command -v apptainer >/dev/null; then exit 0; fi

library=/usr/lib/apptainer-libc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$work"/{lists/partial,cache/archives/partial,deb}
# The mirror of this machine. The package lists of the machine are not changed.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v -- -security | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$work/sources.list"
options=(-qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache"
    -o APT::Sandbox::User=root -o Acquire::Languages=none)
apt-get "${options[@]}" update
(cd "$work/deb" && apt-get "${options[@]}" download apptainer libc6)
dpkg-deb --raw-extract "$work"/deb/apptainer_*.deb "$work/package"
dpkg --extract "$work"/deb/libc6_*.deb "$work/libc"

# The two programs need a newer C library than that of the machine. Only they use a copy of it.
mkdir -p "$work/package$library"
for file in ld-linux-x86-64.so.2 lib{c,m}.so.6 lib{pthread,dl}.so.* librt.so.1 libresolv.so.2 libnss_{dns,files,compat}.so.2; do
    cp -a "$work"/libc/usr/lib/x86_64-linux-gnu/$file "$work/package$library/"
done
for program in usr/bin/apptainer usr/lib/x86_64-linux-gnu/apptainer/bin/starter; do
    # An rpath, not a runpath: it must take precedence over LD_LIBRARY_PATH, which Apptainer sets.
    patchelf --set-interpreter "$library/ld-linux-x86-64.so.2" --force-rpath \
        --set-rpath "$library:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu" "$work/package/$program"
done
sed -i -E 's/libc6 \(>= [0-9.]+\)/libc6/; s/^Version: .*/&+bookworm/; /^(Recommends|Built-Using|Static-Built-Using):/d' \
    "$work/package/DEBIAN/control"
rm -f "$work/package/DEBIAN/md5sums"
dpkg-deb -Zgzip -z1 --root-owner-group --build "$work/package" "$work/apptainer.deb" >/dev/null
DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes "$work/apptainer.deb" >"$LOGS/apptainer.log" 2>&1 || {
    tail "$LOGS/apptainer.log" >&2
    fail 'Apptainer cannot be installed'
}
apptainer --version
