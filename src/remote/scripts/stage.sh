#!/bin/sh
# Brings the verified artifact to the node; touches no slot. Loops by itself, since curl's own --retry starts a resumed
# file from its beginning (seen in 7.88).

# A server that gives nothing for this many tries in a row is given up; each try that brings bytes counts anew.
MAX_IDLE_TRIES=5
MAX_TRIES=60
MARGIN=$((10 * 1024 * 1024))

main() {
	read_args 'run token url sha256 flagsafe? cacert? clientcert? clientkey?' "$@"
	if [ -z "$SHA256" ]; then die bad-call 'stage needs a sha256'; fi
	SHOWN_URL=$(shown_url)
	check_address
	authority
	begin_long_work
	mkdir -p -- "$UPDATE" || die state "cannot make $UPDATE"
	if ! staged_before; then
		need curl stat df awk
		if [ "$SECURE" = yes ]; then check_certificates; fi
		ask_size
		drop_foreign_part
		check_space
		fetch
		keep_artifact
	fi
	out bytes "$ARTIFACT_BYTES"
}

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

# The record tells by size and time; a file without a fitting record is hashed again, since it may be what a killed
# run had renamed but not recorded.
staged_before() {
	read_artifact
	if [ "$ARTIFACT_SHA256" = "$SHA256" ]; then return 0; fi
	remove_file "$STATE/artifact"
	if [ ! -f "$IMAGE" ]; then return 1; fi
	if [ "$(sha256_of_input <"$IMAGE")" != "$SHA256" ]; then
		remove_file "$IMAGE"
		return 1
	fi
	end_long_work
	write_artifact_record "$SHA256"
}

# --------------------------------------------------------------------------------------------------- certificates

check_certificates() {
	CERTS=$KUBEOS_ROOT/etc/KubeOS/certs
	if [ -z "$CACERT" ]; then die certificate 'https needs cacert, the name of a file in /etc/KubeOS/certs'; fi
	check_certificate cacert "$CACERT"
	if [ -z "$CLIENTCERT$CLIENTKEY" ]; then return 0; fi
	if [ -z "$CLIENTCERT" ] || [ -z "$CLIENTKEY" ]; then
		die certificate 'mTLS needs both clientcert and clientkey'
	fi
	check_certificate clientcert "$CLIENTCERT"
	check_readable clientkey "$CLIENTKEY"
	if has openssl; then check_key; fi
}

check_readable() { # FIELD NAME
	file=$CERTS/$2
	shown="$1 /etc/KubeOS/certs/$2"
	if [ ! -e "$file" ]; then die certificate "$shown is not on the node"; fi
	if [ ! -f "$file" ]; then die certificate "$shown is not a plain file"; fi
	if [ ! -r "$file" ] || [ ! -s "$file" ]; then die certificate "$shown cannot be read, or is empty"; fi
}

check_certificate() { # FIELD NAME
	check_readable "$1" "$2"
	if ! has openssl; then return 0; fi
	openssl x509 -in "$file" -noout 2>/dev/null || die certificate "$shown is not a PEM certificate"
	openssl x509 -in "$file" -noout -checkend 0 >/dev/null ||
		die certificate "$shown has expired: $(openssl x509 -in "$file" -noout -enddate)"
}

check_key() {
	in_certificate=$(openssl x509 -in "$CERTS/$CLIENTCERT" -noout -pubkey 2>/dev/null)
	in_key=$(openssl pkey -in "$CERTS/$CLIENTKEY" -pubout -passin pass: 2>/dev/null) ||
		die certificate "$shown is not a private key in PEM, or it has a passphrase"
	if [ "$in_certificate" != "$in_key" ]; then
		die certificate "$shown does not belong to clientcert /etc/KubeOS/certs/$CLIENTCERT"
	fi
}

# ----------------------------------------------------------------------------------------------------------- curl

# curl's configuration goes through standard input: neither the URL nor a key's path stands in the process list.
ask_curl() { # ARGUMENT...: sets CURL_RC and STATUS (HTTP); its words are in $RUN/curl.err
	CURL_RC=0
	STATUS=$(curl_config | gentle curl --disable --config - --write-out '%{http_code}' "$@" 2>"$RUN/curl.err") || CURL_RC=$?
}

curl_config() {
	printf '%s\n' silent show-error fail globoff location 'max-redirs = 3' 'noproxy = "*"' \
		'connect-timeout = 10' 'speed-limit = 10240' 'speed-time = 60'
	config_value url "$URL"
	if [ "$SECURE" = yes ]; then
		printf '%s\n' 'proto = "=https"' 'proto-redir = "=https"' tlsv1.2
		config_value cacert "$CERTS/$CACERT"
		if [ -n "$CLIENTCERT" ]; then
			config_value cert "$CERTS/$CLIENTCERT"
			config_value key "$CERTS/$CLIENTKEY"
		fi
	else
		printf '%s\n' 'proto = "=http,https"' 'proto-redir = "=http,https"'
	fi
}

config_value() { # OPTION VALUE: quoted by curl's rules
	printf '%s = "%s"\n' "$1" "$(printf '%s' "$2" | sed 's/[\\"]/\\&/g')"
}

explain_curl() { # why a request failed, without the URL's secrets: curl's own words may hold the whole of it
	case $CURL_RC:$STATUS in
	22:401 | 22:403) echo "the server refuses the request (HTTP $STATUS)" ;;
	22:404 | 22:410) echo "the server has no such file (HTTP $STATUS)" ;;
	22:5??) echo "the server has a problem of its own (HTTP $STATUS)" ;;
	22:*) echo "the server answered HTTP $STATUS" ;;
	1:*) echo 'a redirect leads to a protocol that is not allowed (https never leads to http)' ;;
	5:* | 6:*) echo 'the name of the server cannot be resolved' ;;
	7:*) echo 'the server refuses the connection, or cannot be reached' ;;
	18:*) echo 'the server ended the transfer too early' ;;
	23:*) echo 'the node could not write what arrived' ;;
	28:*) echo 'no answer, or less than 10 KiB/s for a minute' ;;
	35:*) echo 'the TLS handshake failed (a client certificate that the server wants? TLS older than 1.2?)' ;;
	47:*) echo 'too many redirects' ;;
	52:*) echo 'the server answered nothing' ;;
	56:*) echo 'the connection broke, or the server refuses the client certificate' ;;
	58:*) echo 'the client certificate or its key cannot be used' ;;
	60:*) echo 'the certificate of the server is not valid: not signed by cacert, another name, or expired' ;;
	77:*) echo 'cacert cannot be used' ;;
	*) echo "curl ended with $CURL_RC" ;;
	esac
}

# Errors that another try cannot mend.
is_hopeless() {
	case $CURL_RC:$STATUS in
	22:408 | 22:416 | 22:425 | 22:429 | 22:5??) return 1 ;;
	1:* | 2:* | 3:* | 22:* | 47:* | 58:* | 60:* | 77:*) return 0 ;;
	esac
	return 1
}

give_up() {
	case $CURL_RC in
	58 | 77) die certificate "$SHOWN_URL: $(explain_curl)" ;;
	esac
	die download-failed "$SHOWN_URL: $(explain_curl)"
}

# ------------------------------------------------------------------------------------------------- size and space

ask_size() {
	tries=0
	until ask_size_once; do
		tries=$((tries + 1))
		if is_hopeless || [ "$tries" -ge "$MAX_IDLE_TRIES" ]; then give_up; fi
		say "$SHOWN_URL: $(explain_curl); asking again"
		sleep "$tries"
	done
	if ! is_number "$SIZE" || [ "$SIZE" -eq 0 ]; then
		die download-failed "$SHOWN_URL: the server does not say how big the image is, neither to HEAD nor to a range"
	fi
	note_total "$SIZE"
}

# Some servers refuse HEAD, or answer it without a length: then one byte is asked for, whose answer names the size.
ask_size_once() {
	SIZE=''
	ask_curl --head --output "$RUN/head"
	if [ "$CURL_RC" -eq 0 ]; then SIZE=$(header_value content-length "$RUN/head"); fi
	if is_number "$SIZE" && [ "$SIZE" -gt 0 ]; then return 0; fi
	ask_curl --range 0-0 --max-filesize 65536 --dump-header "$RUN/head" --output /dev/null
	SIZE=$(header_value content-range "$RUN/head")
	SIZE=${SIZE##*/}
	# 63: the server sends all of it whatever the range, and curl stopped at the length that it announced.
	if [ "$CURL_RC" -eq 63 ]; then
		SIZE=$(header_value content-length "$RUN/head")
		CURL_RC=0
	fi
	[ "$CURL_RC" -eq 0 ]
}

header_value() { # NAME FILE: of the last answer, after all redirects
	if [ ! -r "$2" ]; then return 0; fi
	tr -d '\r' <"$2" | awk -v name="$1:" '
		/^HTTP\// { value = "" }
		tolower($1) == name { value = $2; if (tolower($2) == "bytes") value = $3 }
		END { print value }'
}

# What was left of another image would be resumed into nonsense.
drop_foreign_part() {
	if [ "$(first_line "$STATE/part")" != "$SHA256" ] || [ "$(file_bytes "$IMAGE.part")" -gt "$SIZE" ]; then
		remove_file "$IMAGE.part"
		put_file "$STATE/part" "$SHA256"
	fi
}

check_space() {
	free=$(free_bytes) || die state 'the free space of /persist cannot be read'
	needed=$((SIZE - $(file_bytes "$IMAGE.part") + MARGIN))
	if [ "$free" -lt "$needed" ]; then
		die no-space "/persist has $free bytes free, the image and a margin need $needed"
	fi
}

# ------------------------------------------------------------------------------------------------------- download

fetch() {
	RESUMED=no
	download
	if part_is_right; then return 0; fi
	if [ "$RESUMED" = yes ]; then
		log "$SHOWN_URL: the pieces do not fit together, the image is fetched anew"
		remove_file "$IMAGE.part"
		RESUMED=no
		download
		if part_is_right; then return 0; fi
	fi
	kind=$(content_kind)
	remove_file "$IMAGE.part"
	die checksum-mismatch "$SHOWN_URL: the SHA-256 is $SUM, the spec says $SHA256$kind"
}

part_is_right() {
	SUM=$(sha256_of_input <"$IMAGE.part") || die state "cannot read $IMAGE.part"
	[ "$SUM" = "$SHA256" ]
}

content_kind() { # a hint where a sign-in page or the like was delivered instead
	case $(head -c 15 "$IMAGE.part" | tr 'A-Z\000' 'a-z ') in
	\<!doctype\ html* | \<html*) printf '%s' '; what came is a web page' ;;
	esac
}

download() {
	tries=0
	idle=0
	while [ "$(file_bytes "$IMAGE.part")" -lt "$SIZE" ]; do
		before=$(file_bytes "$IMAGE.part")
		if [ "$before" -gt 0 ]; then RESUMED=yes; fi
		fetch_more "$before"
		after=$(file_bytes "$IMAGE.part")
		if [ "$CURL_RC" -ne 0 ]; then after_failure; fi
		tries=$((tries + 1))
		if [ "$after" -gt "$before" ]; then idle=0; else idle=$((idle + 1)); fi
		if [ "$idle" -ge "$MAX_IDLE_TRIES" ] || [ "$tries" -ge "$MAX_TRIES" ]; then
			if [ "$CURL_RC" -eq 0 ]; then CURL_RC=18; fi
			give_up
		fi
		if [ "$after" -lt "$SIZE" ]; then
			say "$SHOWN_URL: $after of $SIZE bytes; going on"
			sleep "$((idle + 1))"
		fi
	done
}

# The size that the server announced is the most that it may send; the shell's limit stops one that never ends.
fetch_more() { # OFFSET
	limit=$((SIZE / 512 + 2048))
	(
		ulimit -f "$limit"
		ask_curl --continue-at "$1" --max-filesize "$SIZE" --output "$IMAGE.part"
		printf '%s %s\n' "$CURL_RC" "$STATUS" >"$RUN/curl.rc"
	)
	IFS=' ' read -r CURL_RC STATUS <"$RUN/curl.rc" || die download-failed "$SHOWN_URL: curl was ended"
}

after_failure() {
	case $CURL_RC:$STATUS in
	# 33: the server has no ranges; 416: it has less than was fetched already. Both begin anew.
	33:* | 22:416) remove_file "$IMAGE.part" && after=0 ;;
	23:*)
		if [ "$(free_bytes)" -lt "$MARGIN" ]; then die no-space '/persist is full'; fi
		give_up
		;;
	*) if is_hopeless; then give_up; fi ;;
	esac
	say "$SHOWN_URL: $(explain_curl)"
}

keep_artifact() {
	end_long_work
	sync_path "$IMAGE.part"
	mv -f -- "$IMAGE.part" "$IMAGE" || die state "cannot rename $IMAGE.part"
	sync_path "$UPDATE"
	write_artifact_record "$SHA256"
	remove_file "$STATE/part"
	log "artifact of $ARTIFACT_BYTES bytes staged from $SHOWN_URL, SHA-256 $SHA256"
}
