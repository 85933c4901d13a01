# Brings in everything that reno is built from: the Conan client in build/venv, the distribution's packages
# and LibTorch by the list in conan/. Nothing outside build/ is touched but apt's packages. Needs no network
# when conan/ and Python are unchanged and all is in place.

python=${PYTHON:-python3}
venv=$build/venv
conan_version='conan>=2.20,<3'
export CONAN_HOME=${RENO_CONAN_HOME:-$build/conan}

have_gpu() { [[ -e /dev/nvidiactl ]]; }

wants_cuda() {
  case ${RENO_CUDA:-auto} in
    auto) if have_gpu; then echo True; else echo False; fi ;;
    1) echo True ;;
    0) echo False ;;
    *) fail "RENO_CUDA is '${RENO_CUDA}'; use 0, 1 or auto." ;;
  esac
}

# What the installed dependencies depend on; when it changes, they are looked at again.
fingerprint() {
  {
    sha256sum conan/conanfile.py conan/profiles/* conan/recipes/*/config.yml conan/recipes/*/all/*.py
    echo "$conan_version cuda=$cuda home=$CONAN_HOME root=$root"
  } | sha256sum | cut -d' ' -f1
}

dependencies_in_place() {
  local libtorch
  [[ -f $build/deps/fingerprint && $(<"$build/deps/fingerprint") == "$1" ]] || return 1
  libtorch=$(sed -n 's/^set(libtorch_PACKAGE_FOLDER_RELEASE "\(.*\)")/\1/p' "$build"/deps/libtorch-release-*-data.cmake)
  [[ -f $libtorch/torch/lib/libtorch_cpu.so ]] || return 1
  command -v cmake ninja g++ >/dev/null
}

# Whichever Python made it: another `python3` first in PATH is no reason to start afresh.
venv_in_place() {
  [[ -f $venv/fingerprint && $(<"$venv/fingerprint") == "$conan_version" ]] && "$venv/bin/python" -c '' 2>/dev/null
}

make_venv() {
  "$python" -m venv --clear "$venv" &&
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir "$conan_version" &&
    echo "$conan_version" >"$venv/fingerprint"
}

# What an earlier recipe made is gigabytes that nobody uses. A shared Conan home is left alone.
remove_old_libtorch() {
  [[ $CONAN_HOME != "$build"/* ]] || "$venv/bin/conan" remove --confirm 'libtorch/*#!latest'
}

conan_install() {
  local conan=$venv/bin/conan manager=check sudo=False
  if ((EUID == 0)); then
    manager=install
  elif command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
    manager=install sudo=True
  fi
  rm -rf "$build/deps"
  "$conan" remote add reno "$root/conan" -t local-recipes-index --force &&
    DEBIAN_FRONTEND=noninteractive "$conan" install conan \
      --remote reno --update --build missing --output-folder "$build/deps" \
      --profile:all conan/profiles/debian-12 \
      --options "libtorch/*:cuda=$cuda" \
      --conf "tools.system.package_manager:mode=$manager" \
      --conf "tools.system.package_manager:sudo=$sudo" &&
    remove_old_libtorch
}

cuda=$(wants_cuda)
wanted=$(fingerprint)
if dependencies_in_place "$wanted"; then
  echo "Dependencies are in place."
else
  if ! venv_in_place; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
      fail "Python 3.10 or newer is needed as '$python' (PYTHON=<another> chooses): apt-get install python3 python3-venv"
    "$python" -c 'import ensurepip' 2>/dev/null || fail "Python's venv is missing: apt-get install python3-venv"
    step venv "Installing the Conan client into build/venv" make_venv
  fi
  if [[ $cuda == True ]]; then size="3 GB"; else size="0.5 GB"; fi
  step conan "Installing dependencies: Debian packages, and LibTorch ($size to download)" conan_install
  echo "$wanted" >"$build/deps/fingerprint"
fi
