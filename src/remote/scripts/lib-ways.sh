#!/bin/sh
# Requests to the image server, by curl or by GNU wget. Each sets STATUS, that of the last answer after all redirects,
# and FAULT, one word for what went wrong, the same for both; the answer's headers are in $SCRATCH/head. No URL, key,
# certificate or proxy stands in a process list.
# shellcheck disable=SC2034 # the steps' files read what is set here

# A transfer is given up after so many seconds without progress.
STALL_SECONDS=60
MAX_REDIRECTS=3
# A server that gives nothing for this many tries in a row is given up; each try that brings bytes counts anew.
MAX_IDLE_TRIES=5
MAX_TRIES=60

# Where the image comes from: what kubeos sends, or a URL that may be asked. Sets SHOWN_URL, for people.
need_source() { # STEP
	if [ -z "$SHA256" ]; then die bad-call "$1 needs a sha256"; fi
	if [ "$VIA" = ssh ]; then
		if [ -z "$BYTES" ]; then die bad-call "$1 needs to know how many bytes kubeos sends"; fi
		SHOWN_URL='the image that kubeos sends'
	else
		if [ -z "$URL" ]; then die bad-call "$1 needs a url"; fi
		SHOWN_URL=$(shown_url)
		check_address
	fi
}

choose_way() { # VIA, where nobody chose
	if [ -z "$VIA" ]; then
		if has curl || ! has_gnu_wget; then VIA=curl; else VIA=wget; fi
	fi
	case $VIA in
	curl) need curl ;;
	wget) has_gnu_wget || die missing-tool "the node has no GNU wget; BusyBox's checks no certificate of a server" ;;
	esac
}

ask_head() {
	case $VIA in
	curl) ask_curl --head --output /dev/null ;;
	wget) ask_wget --method=HEAD --output-document=/dev/null ;;
	esac
}

# A server without ranges sends all of it: that is stopped soon.
ask_first_byte() {
	case $VIA in
	curl) ask_curl --range 0-0 --max-filesize 65536 --output /dev/null ;;
	wget)
		ask_within 65536 ask_wget '--header=Range: bytes=0-0' "--output-document=$SCRATCH/byte"
		rm -f -- "$SCRATCH/byte"
		;;
	esac
	if [ "$FAULT" = too-long ]; then FAULT=none; fi
}

ask_first_bytes() { # COUNT: to standard output, of which no more may be read
	case $VIA in
	curl) ask_curl --max-time "$STALL_SECONDS" --range "0-$(($1 - 1))" --no-buffer --output - ;;
	wget) ask_wget "--header=Range: bytes=0-$(($1 - 1))" --output-document=- ;;
	esac
}

ask_rest() { # OFFSET SIZE: is added to what is there of the image
	case $VIA in
	curl) ask_curl --continue-at "$1" --max-filesize "$2" --output "$IMAGE.part" ;;
	wget) ask_wget --continue "--output-document=$IMAGE.part" ;;
	esac
}

ask_from() { # OFFSET: the rest of the image to standard output
	case $VIA in
	curl) ask_curl --continue-at "$1" --output - ;;
	wget) if [ "$1" -eq 0 ]; then ask_wget --output-document=-; else ask_wget "--start-pos=$1" --output-document=-; fi ;;
	esac
}

# The shell's own limit ends what goes on to write: no server can fill the disk.
ask_within() { # BYTES COMMAND ARGUMENT...
	most=$1
	shift
	printf 'ended \n' >"$SCRATCH/ended"
	(
		ulimit -f "$((most / 512 + 2048))"
		"$@"
		printf '%s %s\n' "$FAULT" "$STATUS" >"$SCRATCH/ended"
	)
	IFS=' ' read -r FAULT STATUS <"$SCRATCH/ended"
}

last_status() { # of the last answer, after all redirects
	tr -d '\r' <"$SCRATCH/head" | awk '/^HTTP\// { status = $2 } END { print status }'
}

header_value() { # NAME: of the last answer, after all redirects
	tr -d '\r' <"$SCRATCH/head" | awk -v name="$1:" '
		/^HTTP\// { value = "" }
		tolower($1) == name { value = $2; if (tolower($2) == "bytes") value = $3 }
		END { print value }'
}

# ----------------------------------------------------------------------------------------------------------- curl

ask_curl() { # ARGUMENT...
	: >"$SCRATCH/head"
	ended=0
	# Its words may hold the whole URL: nobody is shown them.
	curl_config | gentle curl --disable --config - --dump-header "$SCRATCH/head" "$@" 2>"$SCRATCH/curl.err" || ended=$?
	STATUS=$(last_status)
	FAULT=$(curl_fault "$ended")
	if [ "$FAULT" = server-certificate ]; then FAULT=$(judge_server_certificate); fi
}

# Asked once more, for the verdict alone: OpenSSL's, as verify(1) lists them, or the flags of GnuTLS's
# gnutls_certificate_status_t. Another name curl finds by itself, over OpenSSL before there is any verdict (1, unspecified).
judge_server_certificate() {
	case $(curl --version) in *OpenSSL*) library=openssl ;; *GnuTLS*) library=gnutls ;; *) library=another ;; esac
	ended=0
	verdict=$(curl_config | gentle curl --disable --config - --head --output /dev/null \
		--write-out '%{ssl_verify_result}' 2>/dev/null) || ended=$?
	case $ended:$library:$verdict in
	60:openssl:[01] | 60:openssl:6[24] | 60:gnutls:0) echo misnamed-server-certificate ;;
	60:openssl:9 | 60:gnutls:514) echo early-server-certificate ;;
	60:openssl:10 | 60:gnutls:1026) echo expired-server-certificate ;;
	60:openssl:1[89] | 60:openssl:2[01] | 60:gnutls:66) echo strange-server-certificate ;;
	*) echo server-certificate ;;
	esac
}

curl_config() {
	printf '%s\n' silent show-error fail globoff location "max-redirs = $MAX_REDIRECTS" 'connect-timeout = 10' \
		'speed-limit = 10240' "speed-time = $STALL_SECONDS"
	config_value url "$URL"
	if [ -n "$PROXY" ]; then config_value proxy "$PROXY"; else echo 'noproxy = "*"'; fi
	if [ -n "$LIMIT" ]; then echo "limit-rate = $LIMIT"; fi
	if [ "$SECURE" = yes ]; then
		printf '%s\n' 'proto = "=https"' 'proto-redir = "=https"' tlsv1.2
		# Else Debian's curl would trust this node's authorities beside it.
		config_value capath "$(trusts_nobody)"
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

trusts_nobody() { # an empty folder of authorities
	mkdir -p -- "$SCRATCH/nobody"
	printf '%s' "$SCRATCH/nobody"
}

curl_fault() { # EXIT-CODE, as curl(1) lists them
	case $1 in
	0) echo none ;;
	1) echo insecure-redirect ;;
	5 | 97) echo proxy ;;
	6) echo name ;;
	7) echo unreachable ;;
	18) echo short ;;
	22) echo http ;;
	23) echo not-written ;;
	28) echo slow ;;
	33) echo no-ranges ;;
	35) echo handshake ;;
	47) echo redirects ;;
	52) echo no-answer ;;
	56 | 92) echo broken ;;
	58) echo client-certificate ;;
	60) echo server-certificate ;;
	# 153: ended by the shell's limit.
	63 | 153) echo too-long ;;
	77) echo cacert ;;
	*) echo "curl-$1" ;;
	esac
}

# ----------------------------------------------------------------------------------------------------------- wget

# Redirects are followed here, since wget's --https-only was seen to follow one to http.
ask_wget() { # ARGUMENT...
	place=$URL
	redirects=0
	wget_config >"$SCRATCH/wgetrc"
	while ask_wget_once "$place" "$@" && [ "$FAULT" = redirect ]; do
		redirects=$((redirects + 1))
		if [ "$redirects" -gt "$MAX_REDIRECTS" ]; then
			FAULT=redirects
		else
			place=$(place_after "$place" "$(header_value location)")
			may_lead_to "$place" || FAULT=insecure-redirect
		fi
		if [ "$FAULT" != redirect ]; then return 0; fi
	done
}

ask_wget_once() { # URL ARGUMENT...
	from=$1
	shift
	ended=0
	printf '%s\n' "$from" | own_trust wget "--config=$SCRATCH/wgetrc" "--output-file=$SCRATCH/wget.log" --input-file=- "$@" \
		2>/dev/null || ended=$?
	sed 's/^ *//' "$SCRATCH/wget.log" >"$SCRATCH/head"
	STATUS=$(last_status)
	FAULT=$(wget_fault "$ended" "$STATUS" "$(tail -n 9 "$SCRATCH/wget.log")")
}

# Else a wget with OpenSSL would trust this node's authorities beside cacert.
own_trust() { # COMMAND ARGUMENT...
	if [ "$SECURE" = yes ]; then
		SSL_CERT_DIR=$(trusts_nobody) SSL_CERT_FILE=$CERTS/$CACERT
		export SSL_CERT_DIR SSL_CERT_FILE
	fi
	become_gentle "$@"
}

# GNU Wget 1.21, "Wgetrc Commands"; ca_directory for one with GnuTLS, for the same reason.
wget_config() {
	printf '%s = %s\n' verbose on progress dot:mega server_response on max_redirect 0 tries 1 netrc off hsts off robots off \
		use_server_timestamps off auth_no_challenge on connect_timeout 10 dns_timeout 10 read_timeout "$STALL_SECONDS"
	if [ -n "$PROXY" ]; then
		printf '%s = %s\n' use_proxy on http_proxy "$PROXY" https_proxy "$PROXY"
	else
		echo 'use_proxy = off'
	fi
	if [ -n "$LIMIT" ]; then echo "limit_rate = $LIMIT"; fi
	if [ "$SECURE" != yes ]; then return 0; fi
	printf '%s = %s\n' secure_protocol TLSv1_2 ca_directory "$(trusts_nobody)" ca_certificate "$CERTS/$CACERT"
	if [ -n "$CLIENTCERT" ]; then
		printf '%s = %s\n' certificate "$CERTS/$CLIENTCERT" private_key "$CERTS/$CLIENTKEY"
	fi
}

wget_fault() { # EXIT-CODE STATUS LOG: as wget(1) lists the codes; what the server said comes first
	case $1:$2 in
	*:30[12378]) echo redirect ;;
	*:[45]??) echo http ;;
	0:2??) echo none ;;
	3:*) echo not-written ;;
	4:2??) case $3 in *'timed out'*) echo stalled ;; *) echo short ;; esac ;;
	4:*) echo no-connection ;;
	5:*) wget_certificate_fault "$3" ;;
	153:*) echo too-long ;;
	*) echo "wget-$1" ;;
	esac
}

# As wget 1.21 words it, over GnuTLS (src/gnutls.c) or OpenSSL (src/openssl.c). What has expired is not trusted either.
wget_certificate_fault() { # LOG
	case $1 in
	*'not yet activated'* | *'not yet valid'*) echo early-server-certificate ;;
	*'has expired'*) echo expired-server-certificate ;;
	*'known issuer'* | *"issuer's authority"* | *elf-signed\ certificate*) echo strange-server-certificate ;;
	*'not match hostname'* | *"n't match requested host name"* | *'alternative name matches'*) echo misnamed-server-certificate ;;
	*) echo server-certificate ;;
	esac
}

place_after() { # URL LOCATION: where a redirect leads (RFC 3986, 5.2, without dots)
	before=${1%%[?#]*}
	rest=${before#*://}
	root=${before%%://*}://${rest%%/*}
	case $2 in
	*://*) printf '%s' "$2" ;;
	//*) printf '%s:%s' "${before%%://*}" "$2" ;;
	/*) printf '%s%s' "$root" "$2" ;;
	'?'*) printf '%s%s' "$before" "$2" ;;
	*)
		case $rest in */*) folder=${before%/*} ;; *) folder=$root ;; esac
		printf '%s/%s' "$folder" "$2"
		;;
	esac
}

may_lead_to() { # URL
	case $1 in
	[Hh][Tt][Tt][Pp][Ss]://?*) return 0 ;;
	[Hh][Tt][Tt][Pp]://?*) [ "$SECURE" = no ] ;;
	*) return 1 ;;
	esac
}

# --------------------------------------------------------------------------------------------------------- faults

explain_fault() { # why a request failed, without the URL's secrets
	case $FAULT:$STATUS in
	http:401 | http:403) echo "the server refuses the request (HTTP $STATUS)" ;;
	http:404 | http:410) echo "the server has no such file (HTTP $STATUS)" ;;
	http:5??) echo "the server has a problem of its own (HTTP $STATUS)" ;;
	http:*) echo "the server answered HTTP $STATUS" ;;
	insecure-redirect:*) echo 'a redirect leads to a protocol that is not allowed (https never leads to http)' ;;
	proxy:*) echo 'the proxy cannot be reached, or lets nobody through' ;;
	name:*) echo 'the name of the server cannot be resolved' ;;
	unreachable:*) echo 'the server refuses the connection, or cannot be reached' ;;
	no-connection:*) echo 'the server refuses the connection, or cannot be reached (its name, its port, TLS, a client certificate that it wants?)' ;;
	short:*) echo 'the server ended the transfer too early' ;;
	stalled:*) echo 'nothing came for a minute' ;;
	not-written:*) echo 'the node could not write what arrived' ;;
	slow:*) echo 'no answer, or less than 10 KiB/s for a minute' ;;
	no-ranges:*) echo 'the server answers no ranges' ;;
	handshake:*) echo 'the TLS handshake failed (a client certificate that the server wants? TLS older than 1.2?)' ;;
	redirects:*) echo 'too many redirects' ;;
	no-answer:*) echo 'the server answered nothing' ;;
	broken:*) echo 'the connection broke, or the server refuses the client certificate' ;;
	client-certificate:*) echo 'the client certificate or its key cannot be used' ;;
	misnamed-server-certificate:*) echo 'the certificate of the server is for another name' ;;
	strange-server-certificate:*) echo 'the certificate of the server is not signed by cacert' ;;
	early-server-certificate:*) echo "the certificate of the server is not valid yet by $(node_clock)" ;;
	expired-server-certificate:*) echo "the certificate of the server has expired by $(node_clock)" ;;
	server-certificate:*)
		echo "the certificate of the server is not valid: not signed by cacert, another name, or expired by $(node_clock)"
		;;
	too-long:*) echo 'the server sends more than it announced' ;;
	cacert:*) echo 'cacert cannot be used' ;;
	*) echo "$VIA ended with ${FAULT##*-}" ;;
	esac
}

node_clock() {
	echo "this node's clock, which says $(date -u '+%Y-%m-%d %H:%M') UTC"
}

# Faults that another try cannot mend.
is_hopeless() {
	case $FAULT:$STATUS in
	http:408 | http:416 | http:425 | http:429 | http:5??) return 1 ;;
	http:* | insecure-redirect:* | redirects:* | *certificate:* | cacert:* | curl-[23]:* | wget-2:*) return 0 ;;
	esac
	return 1
}

give_up() {
	case $FAULT in
	client-certificate | cacert) die certificate "$SHOWN_URL: $(explain_fault)" ;;
	esac
	die download-failed "$SHOWN_URL: $(explain_fault)"
}

ask_size() {
	tries=0
	until ask_size_once; do
		tries=$((tries + 1))
		if is_hopeless || [ "$tries" -ge "$MAX_IDLE_TRIES" ]; then give_up; fi
		say "$SHOWN_URL: $(explain_fault); asking again"
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
	ask_head
	if [ "$FAULT" = none ]; then SIZE=$(header_value content-length); fi
	if is_number "$SIZE" && [ "$SIZE" -gt 0 ]; then return 0; fi
	ask_first_byte
	case $STATUS in
	206) SIZE=$(header_value content-range) && SIZE=${SIZE##*/} ;;
	*) SIZE=$(header_value content-length) ;;
	esac
	[ "$FAULT" = none ]
}
