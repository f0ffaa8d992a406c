/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/access.h"

#include <ctype.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"

void access_look_up(struct access *ret, const struct access_settings *settings)
{
	const struct group *group;

	*ret = (struct access){ .status = settings->status };
	if (geteuid() != 0) {
		ret->status = ACCESS_STATUS_GROUP;
		return;
	}
	ret->anybody = strcmp(settings->group, "*") == 0;
	if (ret->anybody)
		return;
	group = getgrnam(settings->group);
	ret->has_group = group || isdigit((unsigned char)settings->group[0]);
	if (ret->has_group)
		ret->group = group ? group->gr_gid : (gid_t)strtoul(settings->group, NULL, 10);
	else
		log_notice("there is no group \"%s\", so only root's VMs can share; make it, or name another as "
			   "[access] group",
			   settings->group);
}

mode_t access_socket_mode(const struct access *access, gid_t *ret_group)
{
	*ret_group = access->has_group ? access->group : (gid_t)-1;
	if (access->anybody || access->status == ACCESS_STATUS_ALL)
		return 0666;
	return access->has_group ? 0660 : 0600;
}

bool access_may_take_part(const struct access *access, uid_t uid, gid_t gid, const gid_t *groups, unsigned count)
{
	bool may = access->anybody || uid == 0 || uid == geteuid() || (access->has_group && gid == access->group);

	for (unsigned i = 0; i < count && !may; i++)
		may = access->has_group && groups[i] == access->group;
	return may;
}
