-- The programs' own role and database, made once, when PostgreSQL's volume is new. The superuser keeps no password, so that
-- nobody is it over the network.
\getenv role SHELFWIRE_ROLE
\getenv database SHELFWIRE_DATABASE
\getenv password POSTGRES_PASSWORD
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"role";
ALTER ROLE postgres PASSWORD NULL;
