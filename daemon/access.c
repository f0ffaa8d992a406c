/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/access.h"

#include <ctype.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"

static void look_up(struct access_group *ret, const char *name)
{
	const struct group *group;

	ret->anybody = strcmp(name, "*") == 0;
	if (ret->anybody)
		return;
	group = getgrnam(name);
	ret->exists = group || isdigit((unsigned char)name[0]);
	if (ret->exists)
		ret->id = group ? group->gr_gid : (gid_t)strtoul(name, NULL, 10);
}

void access_look_up(struct access *ret, const struct access_settings *settings)
{
	*ret = (struct access){ .status = settings->status };
	if (geteuid() != 0) {
		ret->status = ACCESS_STATUS_GROUP;
		return;
	}
	look_up(&ret->members, settings->group);
	look_up(&ret->observers, settings->observers);
	if (!ret->members.anybody && !ret->members.exists)
		log_notice("there is no group \"%s\", so only root's VMs can share; make it, or name another as "
			   "[access] group",
			   settings->group);
}

mode_t access_socket_mode(const struct access *access, gid_t *ret_group)
{
	*ret_group = access->members.exists ? access->members.id : (gid_t)-1;
	if (access->members.anybody || access->status == ACCESS_STATUS_ALL)
		return 0666;
	return access->members.exists ? 0660 : 0600;
}

static bool is_one_of(const struct access_group *group, const struct access_who *who)
{
	bool is = group->anybody || who->uid == 0 || who->uid == geteuid() || (group->exists && who->gid == group->id);

	for (unsigned i = 0; i < who->count && !is; i++)
		is = group->exists && who->groups[i] == group->id;
	return is;
}

bool access_may_take_part(const struct access *access, const struct access_who *who)
{
	return is_one_of(&access->members, who);
}

bool access_sees_all(const struct access *access, const struct access_who *who)
{
	return is_one_of(&access->observers, who);
}
