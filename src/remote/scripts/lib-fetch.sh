#!/bin/sh
# The image server as a node sees it: its address, the certificates for it, and what an image is by its first bytes.
# shellcheck disable=SC2034 # the steps' files read what is set here

CERTS=$KUBEOS_ROOT/etc/KubeOS/certs
# Where the server's headers and what must be in no process list go.
SCRATCH=$RUN

# --------------------------------------------------------------------------------------------------------- address

shown_url() { # without credentials and signatures
	shown=${URL%%[?#]*}
	path=${shown#*://}
	# Up to the first slash stands the address; in it, all before the last @ is a user and a password.
	place=${path%%/*}
	printf '%s://%s%s' "${shown%%://*}" "${place##*@}" "${path#"$place"}"
}

check_address() {
	case $URL in
	[Hh][Tt][Tt][Pp][Ss]://?*) SECURE=yes ;;
	[Hh][Tt][Tt][Pp]://?*)
		SECURE=no
		if [ "$FLAGSAFE" != true ]; then
			# shellcheck disable=SC2034 # lets die tell the syslog too
			CHANGING=yes
			die insecure-address "the address is insecure: $SHOWN_URL is http and flagSafe is not true; nothing is downloaded"
		fi
		;;
	*) die bad-call 'the URL is neither http nor https' ;;
	esac
}

# ---------------------------------------------------------------------------------------------------- certificates

check_certificates() {
	problems=$(certificate_problems)
	if [ -n "$problems" ]; then die certificate "$(printf '%s\n' "$problems" | sed -n 1p)"; fi
}

certificate_problems() { # what is wrong with the certificates of the spec, a line each; none where they can be used
	if [ -n "$CACERT" ]; then
		certificate_problem cacert "$CACERT" || :
	else
		echo 'https needs cacert, the name of a file in /etc/KubeOS/certs'
	fi
	if [ -z "$CLIENTCERT$CLIENTKEY" ]; then return 0; fi
	if [ -z "$CLIENTCERT" ] || [ -z "$CLIENTKEY" ]; then
		echo 'mTLS needs both clientcert and clientkey'
		return 0
	fi
	fits=yes
	certificate_problem clientcert "$CLIENTCERT" || fits=no
	readable_problem clientkey "$CLIENTKEY" || fits=no
	if [ "$fits" = yes ] && has openssl; then key_problem; fi
}

readable_problem() { # FIELD NAME: fails, and says why, where it cannot be read
	file=$CERTS/$2
	shown="$1 /etc/KubeOS/certs/$2"
	if [ ! -e "$file" ]; then
		echo "$shown is not on the node"
	elif [ ! -f "$file" ]; then
		echo "$shown is not a plain file"
	elif [ ! -r "$file" ] || [ ! -s "$file" ]; then
		echo "$shown cannot be read, or is empty"
	else
		return 0
	fi
	return 1
}

certificate_problem() { # FIELD NAME: the same for a certificate that cannot be used now
	readable_problem "$1" "$2" || return 1
	if ! has openssl; then return 0; fi
	if ! openssl x509 -in "$file" -noout 2>/dev/null; then
		echo "$shown is not a PEM certificate"
	elif ! openssl x509 -in "$file" -noout -checkend 0 >/dev/null; then
		echo "$shown has expired: $(openssl x509 -in "$file" -noout -enddate), by the node's clock"
	elif is_of_the_future "$file"; then
		echo "$shown is not valid yet: $(openssl x509 -in "$file" -noout -startdate), by the node's clock"
	else
		return 0
	fi
	return 1
}

# openssl compares the times itself: only time can be the reason where it agrees as soon as it is told not to look at it.
is_of_the_future() { # FILE
	! openssl verify -partial_chain -trusted "$1" "$1" >/dev/null 2>&1 &&
		openssl verify -no_check_time -partial_chain -trusted "$1" "$1" >/dev/null 2>&1
}

key_problem() { # of the client's certificate, which can be used
	in_certificate=$(openssl x509 -in "$CERTS/$CLIENTCERT" -noout -pubkey 2>/dev/null)
	if ! in_key=$(openssl pkey -in "$CERTS/$CLIENTKEY" -pubout -passin pass: 2>/dev/null); then
		echo "$shown is not a private key in PEM, or it has a passphrase"
	elif [ "$in_certificate" != "$in_key" ]; then
		echo "$shown does not belong to clientcert /etc/KubeOS/certs/$CLIENTCERT"
	fi
}

# ---------------------------------------------------------------------------------------------------------- image

# Magic numbers: RFC 1952, the xz file format 1.2, RFC 8878, bzip2; ext4 at byte 1080 (Linux, fs/ext4/ext4.h), XFS at 0,
# POSIX ustar at 257; GPT in the second sector, and the MBR's mark in the first.
image_kind() { # FILE: what its first bytes are
	case $(hex_at "$1" 0 6) in
	1f8b*) echo gzip ;;
	fd377a585a00) echo xz ;;
	28b52ffd*) echo zstd ;;
	425a68*) echo bzip2 ;;
	58465342*) echo xfs ;;
	*)
		if [ "$(hex_at "$1" 257 5)" = 7573746172 ]; then
			echo tar
		elif [ "$(hex_at "$1" 1080 2)" = 53ef ]; then
			echo ext4
		elif [ "$(hex_at "$1" 512 8)" = 4546492050415254 ] || [ "$(hex_at "$1" 510 2)" = 55aa ]; then
			echo disk
		elif is_web_page "$1"; then
			echo web-page
		else
			echo unknown
		fi
		;;
	esac
}

# What the artifact is compressed with, where the node has no tool for that; nothing where it can be read.
missing_decompressor() {
	kind=$(image_kind "$IMAGE")
	if one_of "$kind" gzip xz zstd && ! has "$kind"; then printf '%s' "$kind"; fi
}

need_decompressor() {
	lacked=$(missing_decompressor)
	if [ -z "$lacked" ]; then return 0; fi
	hint=': kubeos can decompress it (--via ssh)'
	if [ -n "$IMAGETYPE" ]; then hint=''; fi
	die missing-tool "the image is compressed with $lacked, and the node has no $lacked$hint"
}

# For who has read the artifact. One that the node cannot decompress is none where kubeos sends what is in it.
is_staged() {
	[ "$ARTIFACT_SHA256" = "$SHA256" ] && { [ -z "$DATA" ] || [ -z "$(missing_decompressor)" ]; }
}

# BusyBox's checks no certificate, shows none of its own, and takes the URL as an argument; Wget2 has other rules.
has_gnu_wget() {
	case $(wget --version 2>/dev/null) in 'GNU Wget 1.'*) return 0 ;; esac
	return 1
}

# BusyBox's keeps neither extended attributes nor can it compare.
has_gnu_tar() {
	case $(tar --version 2>/dev/null) in *'GNU tar'*) return 0 ;; esac
	return 1
}

# BusyBox's prints nothing but names.
has_gnu_find() {
	case $(find . --version 2>/dev/null) in *'GNU findutils'*) return 0 ;; esac
	return 1
}

is_web_page() { # FILE: a sign-in page or the like was delivered instead
	case $(head -c 15 "$1" | tr 'A-Z\000' 'a-z ') in
	\<!doctype\ html* | \<html*) return 0 ;;
	esac
	return 1
}
