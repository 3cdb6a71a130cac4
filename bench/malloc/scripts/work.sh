#!/bin/sh
# work.sh FOLDER - what people ask of a repository; nothing is written.
set -eu
cd "$1"
export GIT_CONFIG_NOSYSTEM=1 HOME=/nonexistent GIT_PAGER=cat
git log --stat -p -M last
git diff first last
git blame -w last -- file1
git grep -n -e 'line [0-9]*7 ' last | tail -n 5
git -c pack.threads=1 pack-objects --all --revs --stdout --no-reuse-delta --window=20 \
	</dev/null | wc -c
git fsck --no-dangling 2>&1
