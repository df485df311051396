# Makes the units of the server into template units, of which each instance is a server of its own. For each unit:
# sed -f instances.sed scached.service >/etc/systemd/system/scached@.service
s/\(scached\|scached-admin\)\.\(service\|socket\)/\1@%i.\2/g
s#/run/scached/scached\.sock#/run/scached/%i.sock#
s#/run/scached/admin\.sock#/run/scached/%i-admin.sock#
s#/etc/scached\.toml#/etc/scached-%i.toml#
s#/usr/bin/scachectl #&--admin /run/scached/%i-admin.sock #
s/^Description=.*/& (%i)/
